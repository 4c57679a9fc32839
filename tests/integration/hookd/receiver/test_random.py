"""Random headers and bodies: nothing but the exact signature is ever accepted, and nothing ends in a 5xx."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookd.model.git_hosts import GitHost
from tests.support.receiver import FORM, LocalReceiver, form_of, push_body, run_receiver
from tests.support.signatures import JSON, headers_of, signed

REFUSALS = {400, 401, 411, 413, 415}
# What a WSGI server passes on as the value of a header.
VALUES = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=100)
NAMES = st.sampled_from([*GitHost, "nobody"])
KINDS = st.sampled_from([JSON, FORM, "text/plain", f"{JSON}; charset=x"]) | VALUES
FORMS = st.binary(max_size=60).map(form_of) | st.lists(st.sampled_from([b"payload", b"=", b"&", b"%", b"+", b"7"])).map(
    b"".join
)
BODIES = st.binary(max_size=200) | st.sampled_from([push_body(name) for name in GitHost]) | FORMS


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    """One application and one Redis for this module, because no test stores anything that another reads."""
    with run_receiver(tmp_path_factory.mktemp("random")) as running:
        yield running


@pytest.mark.threat(2)
@given(name=NAMES, body=BODIES, kind=KINDS, signature=VALUES, event=VALUES)
def test_without_the_exact_signature_nothing_passes(
    receiver: LocalReceiver, *, name: str, body: bytes, kind: str, signature: str, event: str
) -> None:
    sender = {host.value: host for host in GitHost}.get(name, GitHost.GITHUB)
    headers = {sender.signature: signature, sender.event: event, "Content-Type": kind}
    response = receiver.post(f"/hooks/{name}", body, headers)
    assert response.status_code in (401, 411)
    assert receiver.stored() == 0


@given(name=NAMES, body=BODIES, place=st.integers(0, 63), digit=st.sampled_from("0123456789abcdefABCDEFg "))
def test_one_changed_digit_is_refused(receiver: LocalReceiver, name: str, body: bytes, place: int, digit: str) -> None:
    sender = {host.value: host for host in GitHost}.get(name, GitHost.GITHUB)
    right = signed(body)
    wrong = right[:place] + digit + right[place + 1 :]
    headers = {**headers_of("github", body), sender.signature: sender.prefix + wrong, sender.event: "push"}
    response = receiver.post(f"/hooks/{name}", body, headers)
    if wrong != right or name == "nobody":
        assert response.status_code in (401, 411)
    else:
        assert response.status_code < 500


@pytest.mark.threat(7)
@given(name=st.sampled_from(GitHost), body=BODIES, kind=KINDS, event=VALUES | st.just("push"), delivery=VALUES)
def test_signed_bytes_never_cause_5xx(
    receiver: LocalReceiver, *, name: str, body: bytes, kind: str, event: str, delivery: str
) -> None:
    headers = {**headers_of(name, body, event=event, delivery=delivery), "Content-Type": kind}
    response = receiver.post(f"/hooks/{name}", body, headers)
    assert response.status_code in REFUSALS | {200, 202}
    assert response.status_code != 202 or body == push_body(name)
    receiver.redis.flushdb()


@given(path=st.text(st.characters(max_codepoint=255), max_size=40), method=st.sampled_from(["GET", "POST"]))
def test_no_path_ends_in_a_5xx(receiver: LocalReceiver, path: str, method: str) -> None:
    for prefix in ("", "/", "/hooks/", "/apps/", "/deployments/"):
        decoded = {"PATH_INFO": prefix + path, "REQUEST_METHOD": method}
        assert receiver.app.test_client().open(environ_overrides=decoded).status_code < 500
    assert receiver.stored() == 0
