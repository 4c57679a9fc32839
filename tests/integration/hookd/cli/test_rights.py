"""The cause and the next command: for a user without rights, an invalid file, and a Redis that does not answer."""

import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

import hookd.cli.send
import hookd.cli.status  # noqa: F401 - another user may not import it later.
from hookd.cli import main, progress
from hookd.model.deployment import Status, advance
from hookd.queue.deployments import DeploymentStore
from hookd.queue.rq_keys import SUSPENDED
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


def test_missing_configuration_has_a_hint(tmp_path: Path) -> None:
    done = type_hookd(Installation(tmp_path), "status")
    assert done.returncode == 2
    assert "there is no configuration at" in done.stderr and "HOOKD_CONFIG" in done.stderr


def test_frozen_redis_is_named(shop: Installation) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{shop.directory}/silent.sock")
        silent.listen()
        shop.redis_url = f"unix://{shop.directory}/silent.sock"
        shop.write_config()
        with patch("hookd.queue.client.CLI_SECONDS", 0.1):
            done = type_hookd(shop, "status")
    assert done.returncode == 6
    assert "Redis accepts connections and does not answer" in done.stderr
    assert "next: pgrep" in done.stderr


def test_suspended_queue_is_named(shop: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.start_redis()
    shop.records.connection.set(SUSPENDED, 1)
    print_wait = progress._print_wait

    def print_and_cancel(store: DeploymentStore, *commands: str) -> None:
        print_wait(store, *commands)
        [waiting] = store.history("shop", 1)
        store.change(waiting.id, lambda old: advance(old, Status.CANCELLED, datetime.now(UTC)))

    monkeypatch.setattr(progress, "_print_wait", print_and_cancel)
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0)
    done = type_hookd(shop, "deploy", "shop")
    environment = shop.config.settings.rq_environment
    assert f"waiting, the queue is suspended\n  next: . {environment} && rq resume\n" in done.stdout
