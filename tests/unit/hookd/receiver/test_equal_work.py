"""An unsigned request makes the same work for each app, so its duration tells nothing about the apps."""

import io
from collections.abc import Mapping
from itertools import product
from typing import Final

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from flask import Request
from werkzeug.test import EnvironBuilder

from hookd.credentials import Secret
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from hookd.receiver import signed_request
from hookd.receiver.errors import BadSignature
from tests.support.receiver import FORM, form_of, push_body
from tests.support.signatures import JSON

ONE: Final = (Secret(b"the only secret"),)
TWO: Final = (*ONE, Secret(b"the secret after the rotation"))
BODIES: Final = {
    "JSON": push_body("shop"),
    "a form": form_of(push_body("shop")),
    "a form of escapes": b"payload=" + b"%41" * 1000,
    "a malformed form": b"payload=a&b=c",
    "nothing": b"",
}
CLAIMS: Final = [{}, *({host.signature: host.prefix + "0" * 64} for host in GitHost)]


def make_app(sender: GitHost) -> App:
    return App.model_validate(
        {
            "name": "shop",
            "repository": "https://git.example.org/acme/shop.git",
            "full_name": "acme/shop",
            "root": "/srv/shop",
            "sender": sender,
            "health": {"url": "http://127.0.0.1:8000/healthz"},
        }
    )


class Work:
    """Counts the bytes that are decoded, and those that go into each signature."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, int]] = []
        decode, work = signed_request.decode_form, self

        class CountingHMAC:
            def __init__(self, key: bytes, algorithm: SHA256) -> None:
                self._mac, self._place = HMAC(key, algorithm), len(work.done)
                work.done.append(("signed", 0))

            def update(self, piece: bytes) -> None:
                self._mac.update(piece)
                work.done[self._place] = ("signed", work.done[self._place][1] + len(piece))

            def verify(self, digest: bytes) -> None:
                work.done.append(("compared", len(digest)))
                self._mac.verify(digest)

        def counting_decode(form: bytes) -> bytes | None:
            work.done.append(("decoded", len(form)))
            return decode(form)

        monkeypatch.setattr(signed_request, "HMAC", CountingHMAC)
        monkeypatch.setattr(signed_request, "decode_form", counting_decode)

    def for_request(self, app: App | None, secrets: tuple[Secret, ...], request: Request) -> list[tuple[str, int]]:
        """Refuse a request and return its work."""
        self.done = []
        with pytest.raises(BadSignature):
            signed_request.signed_body(request, "shop", app, secrets, 10**6)
        return [(what, 0 if what == "compared" else size) for what, size in self.done]


def make_request(body: bytes, kind: str, headers: Mapping[str, str]) -> Request:
    builder = EnvironBuilder(
        method="POST", input_stream=io.BytesIO(body), content_type=kind, headers=[*headers.items()]
    )
    builder.content_length = len(body)
    return Request(builder.get_environ())


@pytest.mark.threat(2)
@pytest.mark.parametrize("kind", [JSON, FORM, "text/plain"])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_each_app_costs_the_same(body: bytes, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    apps = [(None, ()), *product(map(make_app, GitHost), (ONE, TWO))]
    for claim in CLAIMS:
        costs = [work.for_request(app, secrets, make_request(body, kind, claim)) for app, secrets in apps]
        assert costs == [costs[0]] * len(apps)
        assert ("signed", len(body)) in costs[0]


@pytest.mark.threat(2)
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_headers_of_hosts_cost_the_same(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    work, app = Work(monkeypatch), make_app(GitHost.GITEA)
    costs = [work.for_request(app, ONE, make_request(body, FORM, claim)) for claim in CLAIMS]
    assert costs == [costs[0]] * len(CLAIMS)
    assert ("decoded", len(body)) in costs[0]
