"""HMAC-SHA256 over a request's bytes, checked against every active secret of an app."""

import secrets as random
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from hookd.credentials import Secret

# An unknown app costs the same time as a known one. This key is never printed or stored.
_UNKNOWN_APP_SECRET: Final = Secret(random.token_bytes(32))


class Verifier:
    """Checks a body piece by piece, so no unverified body is held in memory."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._is_known = bool(secrets)
        self._macs = [HMAC(secret.reveal(), SHA256()) for secret in (secrets or (_UNKNOWN_APP_SECRET,))]

    def update(self, piece: bytes) -> None:
        """Add the next piece of the signed bytes."""
        for mac in self._macs:
            mac.update(piece)

    def accepts(self, digest: bytes | None) -> bool:
        """Return True if the digest matches one of the secrets. Compares all of them in constant time."""
        matches = [_matches(mac, digest or b"") for mac in self._macs]
        return self._is_known and digest is not None and any(matches)


def sign(secret: Secret, pieces: Iterable[bytes]) -> str:
    """Return the signature of the bytes as 64 hexadecimal digits."""
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
