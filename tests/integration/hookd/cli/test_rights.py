"""Commands of a user without rights, and the next command for each unreadable or invalid file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import hookd.cli.send
import hookd.cli.status  # noqa: F401 - another user may not import it later.
from hookd.cli import main
from tests.support.installation import Installation
from tests.support.typed import hookd as type_hookd
from tests.support.users import as_nobody, needs_root, open_directory


@pytest.fixture
def shop() -> Iterator[Installation]:
    """An installation with one app, whose directory everyone can reach."""
    with open_directory() as directory, Installation(directory) as installation:
        installation.add_app("shop")
        yield installation


def said(installation: Installation, *arguments: str) -> str:
    """Run a command in this process, and return its status and its errors."""
    sys.argv = ["hookd", *arguments]
    result = CliRunner().invoke(main, ["--config", str(installation.config_path), *arguments])
    return f"{result.exit_code} {result.stderr}"


@needs_root
def test_closed_socket_asks_for_sudo(shop: Installation) -> None:
    shop.start_redis()
    assert as_nobody(lambda: said(shop, "status")) == "6 hookd: you may not use Redis\n  next: sudo hookd status\n"


@needs_root
@pytest.mark.parametrize("name", ["hookd.toml", "apps/shop.toml"])
def test_closed_configuration_asks_for_sudo(shop: Installation, name: str) -> None:
    (shop.directory / name).chmod(0o600)
    text = as_nobody(lambda: said(shop, "status"))
    assert f"{name}: cannot be read: Permission denied\n" in text
    assert text.endswith("\n  next: sudo hookd status\n")


@needs_root
def test_closed_secret_asks_for_sudo(shop: Installation) -> None:
    (shop.directory / "secrets" / "shop").chmod(0o600)
    assert as_nobody(lambda: said(shop, "send", "shop")).endswith("\n  next: sudo hookd send shop\n")


def test_invalid_files_open_an_editor(shop: Installation) -> None:
    names = ("hookd.toml", "apps/shop.toml")
    for name in names:
        (shop.directory / name).write_text("no toml")
    files = " ".join(str(shop.directory / name) for name in names)
    assert type_hookd(shop, "status").stderr.endswith(f"\n  next: ${{EDITOR:-vi}} {files}\n")


def test_missing_catalogue_has_a_hint(shop: Installation, tmp_path: Path) -> None:
    text = shop.config_path.read_text()
    shop.config_path.write_text(f'apps = "{tmp_path}/none"\n{text}')
    assert type_hookd(shop, "status").stderr.endswith(f"\n  next: ls -ld {tmp_path}/none\n")


def test_missing_secret_has_a_hint(shop: Installation) -> None:
    secret = shop.directory / "secrets" / "shop"
    secret.unlink()
    assert type_hookd(shop, "send", "shop").stderr.endswith(f"\n  next: openssl rand -hex 32 > {secret}\n")
