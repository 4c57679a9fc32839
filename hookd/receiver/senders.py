"""The headers of each git host, in one table.

Sources: GitHub "Validating webhook deliveries", Gitea services/webhook/deliver.go, Forgejo
services/webhook/shared/payloader.go, Gogs internal/database/webhook.go. Gitea, Forgejo and Gogs also send GitHub's
headers, so an app names its sender and only that sender's headers are read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from werkzeug.datastructures import Headers

_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Sender:
    """The headers of one git host. With `signs_form_value` it signs a form's decoded JSON, not the form's bytes."""

    event: str
    delivery: str
    signature: str
    prefix: str
    signs_form_value: bool

    def digest(self, headers: Headers) -> bytes | None:
        """Return the signature's digest, or None unless it is exactly the prefix and 64 lower-case digits.

        A repeated header arrives joined by a comma and does not match. SHA-1 is never accepted, and the algorithm is
        never taken from the header.
        """
        value = headers.get(self.signature, "")
        if not value.startswith(self.prefix):
            return None
        digits = value[len(self.prefix) :]
        return bytes.fromhex(digits) if _HEX_DIGEST.fullmatch(digits) else None


SENDERS: Final[Mapping[str, Sender]] = {
    "github": Sender("X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256", "sha256=", False),
    "gitea": Sender("X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature", "", True),
    "forgejo": Sender("X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature", "", True),
    "gogs": Sender("X-Gogs-Event", "X-Gogs-Delivery", "X-Gogs-Signature", "", True),
}
