"""Refusals of the receiver: one 401 for all without a right signature, plain 4xx after it, and nothing is stored."""

import json
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from hookd.credentials import Secret
from hookd.model.git_hosts import GitHost
from hookd.receiver.app import Receiver, create_app
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.status_routes import ReadAccess
from tests.support.receiver import FORM, LocalReceiver, form_of, push_body
from tests.support.signatures import JSON, SECRET, headers_of, signed

RECEIVER = {"max_body": 65536}
Spoil = Callable[[str, bytes], str | None]
UNSIGNED = b'{"error":"invalid signature"}\n'


def answer(response: TestResponse) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return everything of an answer that a caller sees."""
    return response.status_code, response.data, list(response.headers)


SPOILT: dict[str, Spoil] = {
    "missing": lambda prefix, body: None,
    "empty": lambda prefix, body: "",
    "bare prefix": lambda prefix, body: prefix or "sha256=",
    "other secret": lambda prefix, body: prefix + signed(body, SECRET + "x"),
    "other body": lambda prefix, body: prefix + signed(body + b" "),
    "empty secret": lambda prefix, body: prefix + signed(body, ""),
    "upper case": lambda prefix, body: prefix + signed(body).upper(),
    "doubled": lambda prefix, body: f"{prefix}{signed(body)},{prefix}{signed(body)}",
    "doubled with a space": lambda prefix, body: f"{prefix}{signed(body)}, {prefix}{signed(body)}",
    "doubled digits": lambda prefix, body: prefix + signed(body) * 2,
    "cut": lambda prefix, body: prefix + signed(body)[:-1],
    "SHA-1": lambda prefix, body: f"sha1={signed(body)[:40]}",
    "not ASCII": lambda prefix, body: f"{prefix}{signed(body)[:-1]}é",
    "only letters of another script": lambda prefix, body: "é" * 64,
    "prefix of another sender": lambda prefix, body: signed(body) if prefix else f"sha256={signed(body)}",
    "padded": lambda prefix, body: f"{prefix} {signed(body)}",
}


@pytest.mark.threat(2)
@pytest.mark.promise(5)
@pytest.mark.parametrize("sender", GitHost)
@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in SPOILT.items()])
def test_inexact_signatures_get_401(receiver: LocalReceiver, sender: str, spoil: Spoil) -> None:
    body = push_body(sender)
    headers = headers_of(sender, body)
    value = spoil(GitHost(sender).prefix, body)
    del headers[GitHost(sender).signature]
    if value is not None:
        headers[GitHost(sender).signature] = value
    assert answer(receiver.post(f"/hooks/{sender}", body, headers)) == (
        401,
        UNSIGNED,
        [("Content-Type", "application/json"), ("Content-Length", str(len(UNSIGNED)))],
    )
    assert receiver.stored() == 0


@pytest.mark.threat(2)
@pytest.mark.parametrize("sender", GitHost)
@pytest.mark.parametrize("name", ["nobody", "github2", "GITHUB", "%00", "%ff", "é", "a b", "x" * 300])
def test_unknown_app_looks_like_bad_signature(receiver: LocalReceiver, sender: str, name: str) -> None:
    body = push_body(sender)
    known = receiver.post(f"/hooks/{sender}", body, {"Content-Type": JSON})
    unknown = receiver.post(f"/hooks/{name}", body, headers_of(sender, body))
    assert answer(unknown) == answer(known)
    assert known.status_code == 401
    assert receiver.stored() == 0


def test_secret_without_app_is_refused(receiver: LocalReceiver) -> None:
    secrets = {"ghost": (Secret(SECRET.encode()),)}
    refusal_log = RefusalLog(receiver.redis)
    store = receiver.records
    app = create_app(Receiver(receiver.config, secrets, store, refusal_log), ReadAccess(True, None), store)
    body = push_body("ghost")
    response = app.test_client().post("/hooks/ghost", data=body, headers=headers_of("github", body))
    assert (response.status_code, response.data) == (401, UNSIGNED)
    assert receiver.stored() == 0


@pytest.mark.parametrize("sender", GitHost)
def test_other_senders_signatures_are_ignored(receiver: LocalReceiver, sender: str) -> None:
    body = push_body(sender)
    headers = {"Content-Type": JSON, "X-Hub-Signature": f"sha256={signed(body)}", "X-Gitlab-Token": SECRET}
    for other in set(GitHost) - {sender}:
        headers |= headers_of(other, body)
    response = receiver.post(f"/hooks/{sender}", body, headers)
    assert (response.status_code, response.data) == (401, UNSIGNED)
    assert receiver.stored() == 0


def test_gitea_delivery_needs_its_own_signature(receiver: LocalReceiver) -> None:
    body = push_body("github")
    headers = {**headers_of("gitea", body), "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256="}
    assert receiver.post("/hooks/github", body, headers).status_code == 401
    assert receiver.stored() == 0


@pytest.mark.parametrize("sender", ["gitea", "forgejo", "gogs"])
@pytest.mark.parametrize("form", [b"", b"x=1", b"payload=%7B%7D&payload=%7B%7D", b"&" * 5000, b"payload=%zz%"])
def test_unverifiable_form_is_bad_signature(receiver: LocalReceiver, sender: str, form: bytes) -> None:
    headers = headers_of(sender, form, content_type=FORM)
    response = receiver.post(f"/hooks/{sender}", form, headers)
    assert (response.status_code, response.data) == (401, UNSIGNED)
    assert receiver.stored() == 0


@pytest.mark.parametrize("sender", ["gitea", "forgejo", "gogs"])
def test_gitea_form_bytes_are_refused(receiver: LocalReceiver, sender: str) -> None:
    form = form_of(push_body(sender))
    assert receiver.push(sender, form, content_type=FORM).status_code == 401
    assert receiver.stored() == 0


def test_github_form_json_is_refused(receiver: LocalReceiver) -> None:
    body = push_body("github")
    headers = headers_of("github", body, content_type=FORM)
    assert receiver.post("/hooks/github", form_of(body), headers).status_code == 401
    assert receiver.stored() == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_post_is_allowed(receiver: LocalReceiver, method: str) -> None:
    body = push_body("github")
    client = receiver.app.test_client()
    response = client.open("/hooks/github", method=method, data=body, headers=headers_of("github", body))
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert receiver.stored() == 0


@pytest.mark.parametrize("path", ["/", "/hooks", "/hooks/", "/hooks//github", "/hooks/github/", "/hooks/github/x"])
def test_inexact_paths_are_refused(receiver: LocalReceiver, path: str) -> None:
    body = push_body("github")
    assert receiver.post(path, body, headers_of("github", body)).status_code == 404
    assert receiver.stored() == 0


def test_missing_length_is_refused(receiver: LocalReceiver) -> None:
    client = receiver.app.test_client()
    response = client.post("/hooks/github", headers=headers_of("github", b""))
    assert (response.status_code, response.content_length) == (411, len(response.data))
    assert receiver.stored() == 0


def test_chunked_body_is_refused(receiver: LocalReceiver) -> None:
    body = push_body("github")
    headers = {**headers_of("github", body), "Transfer-Encoding": "chunked"}
    assert receiver.post("/hooks/github", body, headers).status_code == 411
    assert receiver.stored() == 0


def test_body_size_limit(receiver: LocalReceiver) -> None:
    body = push_body("github").ljust(65536)
    assert receiver.push(body=body).status_code == 202
    receiver.redis.flushdb()
    assert receiver.push(body=body + b" ").status_code == 413
    assert receiver.stored() == 0


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/xml", "application/jsonx", "multipart/form-data"]
)
@pytest.mark.parametrize("sender", GitHost)
def test_another_content_type_is_refused(receiver: LocalReceiver, sender: str, kind: str | None) -> None:
    assert receiver.push(sender, content_type=kind).status_code == 415
    assert receiver.stored() == 0


@pytest.mark.parametrize("kind", [JSON, f"{JSON}; charset=utf-8", "Application/JSON", f"{JSON};charset=utf-7"])
def test_a_content_type_may_have_parameters(receiver: LocalReceiver, kind: str) -> None:
    assert receiver.push(content_type=kind).status_code == 202


MALFORMED = {
    "a space": b" ",
    "no JSON": b"payload",
    "a list": b"[]",
    "deep nesting": b"[" * 30_000 + b"]" * 30_000,
    "deep objects": b'{"a":' * 10_000,
    "a number of 5000 digits": push_body("github")[:-1] + b', "n": ' + b"9" * 5000 + b"}",
    "a lone surrogate": push_body("github").replace(b"refs/heads/main", rb"\ud800"),
    "a lone surrogate elsewhere": push_body("github")[:-1] + rb', "n": "\udfff"}',
    "no UTF-8": push_body("github").replace(b"main", b"\xff"),
    "NaN for a ref": push_body("github", ref=float("nan")),
    "NaN for a commit": push_body("github", after=float("nan")),
    "infinity for a repository": push_body("github", repository=float("inf")),
    "no ref": push_body("github", ref=None),
    "no commit": push_body("github", after=None),
    "no repository": push_body("github", repository=None),
    "a number for a ref": push_body("github", ref=1),
    "a list for a ref": push_body("github", ref=["refs/heads/main"]),
    "a word for a commit": push_body("github", after="main"),
    "an option for a commit": push_body("github", after="--upload-pack=x"),
    "a short commit": push_body("github", after="2" * 12),
    "a repository without a name": push_body("github", repository={}),
}


@pytest.mark.threat(7)
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in MALFORMED.items()])
def test_malformed_pushes_are_refused(receiver: LocalReceiver, body: bytes) -> None:
    for sent, kind in ((body, JSON), (form_of(body), FORM)):
        if len(sent) > 65536:
            continue
        response = receiver.push(body=sent, content_type=kind)
        assert response.status_code == 400
        assert set(json.loads(response.data)) == {"error"}
    assert receiver.stored() == 0


@pytest.mark.threat(7)
@pytest.mark.parametrize("form", [b"", b"x=1", b"payload=%7B%7D&payload=%7B%7D", b"&" * 5000, b"payload=%zz%"])
def test_signed_form_needs_one_payload(receiver: LocalReceiver, form: bytes) -> None:
    assert receiver.push(body=form, content_type=FORM).status_code == 400
    assert receiver.stored() == 0
