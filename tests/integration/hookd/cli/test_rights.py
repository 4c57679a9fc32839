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
from hookd.cli import common, main, progress
from hookd.config import Config
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
    hint = f"sudo hookd --config {shop.config_path} status"
    assert as_nobody(lambda: said(shop, "status")) == f"6 hookd: you may not use Redis\n  next: {hint}\n"


@needs_root
def test_sudo_keeps_the_configuration(shop: Installation) -> None:
    shop.start_redis()
    sys.argv = ["hookd", "status"]
    text = as_nobody(lambda: type_hookd(shop, "status").stderr)
    assert text.endswith(f"  next: sudo hookd --config {shop.config_path} status\n")


def test_hints_repeat_the_typed_configuration(shop: Installation) -> None:
    here = f"--config {shop.config_path}"
    assert said(shop, "status").endswith(f"\n  next: hookd {here} redis\n")
    shop.start_redis()
    assert said(shop, "logs", "shop").endswith(f"\n  next: hookd {here} deploy shop\n")
    assert said(shop, "setup").endswith("\n  next: sudo hookd setup\n")


@needs_root
@pytest.mark.parametrize("name", ["hookd.toml", "apps/shop.toml"])
def test_closed_configuration_asks_for_sudo(shop: Installation, name: str) -> None:
    (shop.directory / name).chmod(0o600)
    text = as_nobody(lambda: said(shop, "status"))
    assert f"{name}: cannot be read: Permission denied\n" in text
    assert text.endswith(f"\n  next: sudo hookd --config {shop.config_path} status\n")


@needs_root
def test_closed_secret_asks_for_sudo(shop: Installation) -> None:
    (shop.directory / "secrets" / "shop").chmod(0o600)
    hint = f"sudo hookd --config {shop.config_path} send shop"
    assert as_nobody(lambda: said(shop, "send", "shop")).endswith(f"\n  next: {hint}\n")


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


def test_files_without_toml_are_edited(shop: Installation, tmp_path: Path) -> None:
    """The file's name does not matter. A directory is shown."""
    (tmp_path / "conf").write_text("no toml")
    assert said(shop, "--config", str(tmp_path / "conf"), "status").endswith(
        f"\n  next: ${{EDITOR:-vi}} {tmp_path}/conf\n"
    )
    assert said(shop, "--config", str(tmp_path), "status").endswith(f"\n  next: ls -ld {tmp_path}\n")
    (shop.directory / "apps" / "dir.toml").mkdir()
    assert said(shop, "status").endswith(f"\n  next: ls -ld {shop.directory}/apps/dir.toml\n")


def test_conflict_opens_both_files(shop: Installation) -> None:
    apps = shop.directory / "apps"
    (apps / "blog.toml").write_bytes((apps / "shop.toml").read_bytes())
    assert said(shop, "status").endswith(f"\n  next: ${{EDITOR:-vi}} {apps}/blog.toml {apps}/shop.toml\n")


def test_wrong_file_name_is_changed(shop: Installation) -> None:
    apps = shop.directory / "apps"
    for wrong, right in (("Shop2", "shop2"), ("a_b", "NAME")):
        (apps / f"{wrong}.toml").touch()
        assert said(shop, "status").endswith(f"\n  next: mv {apps}/{wrong}.toml {apps}/{right}.toml\n")
        (apps / f"{wrong}.toml").unlink()


def test_missing_secret_has_a_hint(shop: Installation) -> None:
    secret = shop.directory / "secrets" / "shop"
    secret.unlink()
    make = f"(umask 077 && openssl rand -hex 32 > {secret})"
    assert type_hookd(shop, "send", "shop").stderr.endswith(f"\n  next: {make}\n")


@needs_root
def test_closed_redis_directory_is_named(shop: Installation) -> None:
    directory = shop.directory / "state" / "redis"
    directory.mkdir(parents=True)
    shop.redis_url = f"unix://{shop.directory}/other.sock"
    shop.write_config()
    assert (
        as_nobody(lambda: said(shop, "redis"))
        == f"2 hookd: you may not write {directory}\n  next: ls -ld {directory}\n"
    )


def test_missing_socket_directory_is_named(shop: Installation) -> None:
    text = shop.config_path.read_text()
    shop.config_path.write_text(text.replace(f"127.0.0.1:{shop.port}", f"unix:{shop.directory}/none/r.sock"))
    assert type_hookd(shop, "serve").stderr.endswith(f"/none is missing\n  next: mkdir {shop.directory}/none\n")


def test_missing_configuration_has_a_hint(tmp_path: Path) -> None:
    done = type_hookd(Installation(tmp_path), "status")
    assert done.returncode == 2
    assert "there is no configuration at" in done.stderr and "HOOKD_CONFIG" in done.stderr
    assert done.stderr.endswith(f"\n  next: ls -ld {tmp_path}/hookd.toml\n")


def test_missing_default_leads_to_the_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "DEFAULT", tmp_path / "hookd.toml")
    monkeypatch.setattr(common, "INSTALLED", tmp_path)
    assert "next: sudo hookd setup --domain" in type_hookd(Installation(tmp_path), "status").stderr
    monkeypatch.setattr(common, "INSTALLED", tmp_path / "none")
    assert type_hookd(Installation(tmp_path), "status").stderr.endswith("  next: sudo ./run install\n")


def test_frozen_redis_is_named(shop: Installation) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{shop.directory}/silent.sock")
        silent.listen()
        shop.redis_url = f"unix://{shop.directory}/silent.sock"
        shop.write_config()
        with patch("hookd.queue.client.CLI_SECONDS", 0.1):
            done = type_hookd(shop, "status")
    assert done.returncode == 6
    assert f"Redis does not answer at {shop.redis_url}\n" in done.stderr
    assert "next: pgrep" in done.stderr


def test_suspended_queue_is_named(shop: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.start_redis()
    shop.records.connection.set(SUSPENDED, 1)
    print_wait = progress._print_wait

    def print_and_cancel(config: Config, store: DeploymentStore) -> None:
        print_wait(config, store)
        [waiting] = store.history("shop", 1)
        store.change(waiting.id, lambda old: advance(old, Status.CANCELLED, datetime.now(UTC)))

    monkeypatch.setattr(progress, "_print_wait", print_and_cancel)
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0)
    done = type_hookd(shop, "deploy", "shop")
    environment = shop.config.settings.rq_environment
    assert f"waiting, the queue is suspended\n  next: . {environment} && rq resume\n" in done.stdout
