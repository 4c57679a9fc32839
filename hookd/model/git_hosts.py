"""The git hosts whose pushes hookd verifies, one row each.

Sources: GitHub "Validating webhook deliveries", Gitea services/webhook/deliver.go, Forgejo
services/webhook/shared/payloader.go, Gogs internal/database/webhook.go.
"""

from enum import StrEnum
from typing import Any, Self


class GitHost(StrEnum):
    """A git host with the headers of its deliveries and its public domain.

    A host with `signs_form_value` signs a form's decoded JSON, not the form's bytes.
    """

    def __new__(cls, name: str, *row: Any) -> Self:
        """Store `name` as the value."""
        host = str.__new__(cls, name)
        host._value_ = name
        host.event, host.delivery, host.signature, host.prefix, host.signs_form_value, host.domain = row
        return host

    event: str
    delivery: str
    signature: str
    prefix: str
    signs_form_value: bool
    domain: str | None

    # Gitea's kin also send the headers of their parents, so a fork stands above its parent: the first match is named.
    FORGEJO = "forgejo", "X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature", "", True, "codeberg.org"
    GITEA = "gitea", "X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature", "", True, None
    GOGS = "gogs", "X-Gogs-Event", "X-Gogs-Delivery", "X-Gogs-Signature", "", True, None
    GITHUB = "github", "X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256", "sha256=", False, "github.com"
