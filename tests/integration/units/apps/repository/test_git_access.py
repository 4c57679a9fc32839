"""Deploy keys: the worker's user owns them, and root prints the public part."""

from pathlib import Path

import pytest

from units.apps.repository import git_access
from units.system import layout
from units.system.errors import HostError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJj hookd shop"


def public_half(directory: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the public key in a file of the worker's user."""
    (key := directory / "shop").touch()
    (directory / "shop.pub").write_bytes(content)
    monkeypatch.setattr(layout, "deploy_key", lambda _app: key)
    return git_access.make_deploy_key("shop")


@pytest.mark.parametrize("key", [KEY, KEY.removesuffix(" hookd shop")])
def test_a_public_key_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    assert public_half(tmp_path, f"{key}\n".encode(), monkeypatch) == key


@pytest.mark.threat(64)
@pytest.mark.parametrize(
    "content", [b"", f"{KEY}\n{KEY}".encode(), f"{KEY} \x1b]52;c;eA==\x07".encode(), b"ssh-ed25519 \xff"]
)
def test_invalid_public_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(HostError, match=r"shop\.pub holds no public key") as caught:
        public_half(tmp_path, content, monkeypatch)
    assert caught.value.hint == f"sudo rm -f {tmp_path}/shop {tmp_path}/shop.pub"
