"""HMAC-SHA256 over the bytes of a request, against every active secret of an app."""

import secrets as random
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from hookd.credentials import Secret

# An app that does not exist costs the same work as one that does; nobody knows this key.
_NOBODYS: Final = Secret(random.token_bytes(32))


class Verifier:
    """Takes a body piece by piece, so that nothing unverified has to be held in memory."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._known = bool(secrets)
        self._macs = [HMAC(secret.reveal(), SHA256()) for secret in (secrets or (_NOBODYS,))]

    def update(self, piece: bytes) -> None:
        """Add the next piece of the signed bytes."""
        for mac in self._macs:
            mac.update(piece)

    def accepts(self, digest: bytes | None) -> bool:
        """Tell whether the digest belongs to one of the secrets; compares all of them, each in constant time."""
        matches = [_matches(mac, digest or b"") for mac in self._macs]
        return self._known and digest is not None and any(matches)


def sign(secret: Secret, pieces: Iterable[bytes]) -> str:
    """Return the signature of some bytes as 64 hexadecimal digits."""
    mac = HMAC(secret.reveal(), SHA256())
    for piece in pieces:
        mac.update(piece)
    return mac.finalize().hex()


def _matches(mac: HMAC, digest: bytes) -> bool:
    try:
        mac.verify(digest)
    except InvalidSignature:
        return False
    return True
