"""Requests and signed pushes to a machine or an engine from outside."""

import http.client
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from socket import socket
from typing import Any, Protocol

from tests.support.receiver import push_body
from tests.support.signatures import headers_of

_SECONDS = 30
_TLS = 443


class Place(Protocol):
    """The network of a machine or an engine."""

    def socket(self) -> socket:
        """Return a TCP socket in that network."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        """The answer's JSON object."""
        table: dict[str, Any] = json.loads(self.text)
        return table


def ask(
    place: Place,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    port: int = 80,
    source: str | None = None,
) -> Answer:
    """Send one request over its own connection. `host` is the name in the visitor's address.

    Port 443 uses TLS without a check of the certificate. `source` is the visitor's address.
    """
    connection = http.client.HTTPConnection(host, timeout=_SECONDS)
    connection.sock = place.socket()
    connection.sock.settimeout(_SECONDS)
    try:
        if source:
            connection.sock.bind((source, 0))
        connection.sock.connect(("127.0.0.1", port))
        if port == _TLS:
            connection.sock = _unverified().wrap_socket(connection.sock, server_hostname=host)
        connection.request(method, path, body, {"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode(errors="replace"))
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def push(
    place: Place,
    host: str,
    app: str,
    secret: str,
    *,
    sender: str = "github",
    delivery: str | None = None,
    path: str | None = None,
    port: int = 80,
    source: str | None = None,
    **changes: Any,
) -> Answer:
    """Send a signed push for an app through nginx. `changes` are fields of the event, such as `after`."""
    body = push_body(app, delivery=delivery or str(uuid.uuid4()), **changes)
    signature = headers_of(sender, body, secret=secret, delivery=delivery)
    route = path or f"/hooks/{app}"
    return ask(place, host, route, method="POST", body=body, headers=signature, port=port, source=source)
