"""Secrets in files: systemd's come first, a problem names its file, and no secret is shown."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from hookd.config import Config, ConfigError
from hookd.credentials import (
    ROLES,
    RedisUser,
    Role,
    cli_user,
    redis_user,
    secret_file,
    systemd_credential,
    user_name,
    with_user,
)
from hookd.model.catalogue import Catalogue
from hookd.model.settings import RedisSettings, Settings
from hookd.queue.client import cli_client, receiver_client, worker_client
from hookd.receiver.status_routes import load_read_access
from tests.support.users import as_nobody, open_directory

PASSWORD = "p:a/s@s?#%25 wörd'\""
USER = RedisUser("hookd-worker", PASSWORD)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which systemd shows a unit its credentials."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """The directory of `redis.passwords`."""
    directory = tmp_path / "passwords"
    directory.mkdir()
    return directory


def config(passwords: Path | None, url: str = "unix:///run/redis.sock?db=0", token: Path | None = None) -> Config:
    settings = Settings.model_validate(
        {"redis": RedisSettings(url=url, passwords=passwords), "receiver": {"token_file": token}}
    )
    return Config(Path("/etc/hookd/hookd.toml"), settings, Catalogue())


def shown(user: RedisUser | None) -> tuple[str, str] | None:
    return (user.username, user.password) if user else None


def problem(passwords: Path, url: str = "unix:///run/redis.sock") -> str:
    with pytest.raises(ConfigError) as caught:
        redis_user(config(passwords, url), "worker")
    return str(caught.value)


def test_credential_by_name(systemd: Path) -> None:
    (systemd / "token").write_text("x")
    assert systemd_credential("token") == systemd / "token"
    assert systemd_credential("another") is None


def test_without_passwords_redis_asks_for_none() -> None:
    assert redis_user(config(None), "worker") is None
    assert cli_user(config(None), reads=False) is None


def test_role_has_user_and_file(passwords: Path) -> None:
    (passwords / "worker").write_text(f"{PASSWORD}\n", encoding="utf-8")
    (passwords / "status").write_text("another")
    assert shown(redis_user(config(passwords), "worker")) == ("hookd-worker", PASSWORD)
    assert shown(redis_user(config(passwords), "status")) == ("hookd-status", "another")


def test_systemd_credential_comes_first(passwords: Path, systemd: Path) -> None:
    (passwords / "worker").write_text("the directory's")
    (systemd / "redis_worker").write_text("systemd's")
    (systemd / "redis_status").write_text("systemd's, too")
    assert shown(redis_user(config(passwords), "worker")) == ("hookd-worker", "systemd's")
    assert shown(redis_user(config(passwords), "status")) == ("hookd-status", "systemd's, too")


def test_no_password_without_setting(systemd: Path) -> None:
    (systemd / "redis_worker").write_text("x")
    assert redis_user(config(None), "worker") is None


def test_password_problem_names_the_file(passwords: Path) -> None:
    file = passwords / "worker"
    missing = "cannot be read: No such file or directory"
    assert problem(passwords) == f"{file}: the password of Redis' user hookd-worker {missing}"
    file.write_text(" \n")
    assert problem(passwords) == f"{file}: holds no password"


@pytest.mark.parametrize("url", ["unix://me:pw@/run/r.sock", "redis://me@127.0.0.1:6379/0", "redis://:pw@127.0.0.1"])
def test_url_user_conflicts_with_passwords(passwords: Path, url: str) -> None:
    (passwords / "worker").write_text("x")
    said = problem(passwords, url)
    assert "redis.url: names a user" in said and "pw" not in said.replace("passwords", "")


def test_systemd_s_webhook_secrets_come_first(tmp_path: Path, systemd: Path) -> None:
    (systemd / "secrets_shop").write_text("0123456789abcdef")
    assert secret_file(tmp_path, "shop") == systemd / "secrets_shop"
    assert secret_file(tmp_path, "blog") == tmp_path / "blog"


def test_systemd_s_token_comes_first(tmp_path: Path, systemd: Path) -> None:
    (tmp_path / "token").write_text("the directory's")
    assert load_read_access(config(None, token=tmp_path / "token")).allows("Bearer the directory's")
    (systemd / "token").write_text("systemd's\n")
    for found in (load_read_access(config(None, token=tmp_path / "token")), load_read_access(config(None))):
        assert found.allows("Bearer systemd's")
        assert not found.allows("Bearer the directory's")


def test_cli_user_is_the_operator(passwords: Path) -> None:
    for role in ("operator", "status"):
        (passwords / role).write_text("x")
    for reads in (True, False):
        assert shown(cli_user(config(passwords), reads=reads)) == ("hookd-operator", "x")


def asked_by_nobody(roles: tuple[Role, ...], *, reads: bool) -> str:
    """Ask as a user who may read only the passwords of these roles."""
    with open_directory() as directory:
        for role in ROLES:
            (directory / role).write_text("x")
            (directory / role).chmod(0o644 if role in roles else 0o600)
        return as_nobody(lambda: shown(cli_user(config(directory), reads=reads)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_cli_reader_without_operator_password() -> None:
    assert asked_by_nobody(("status",), reads=True) == "('hookd-status', 'x')"
    assert "PasswordUnreadable" in asked_by_nobody(("status",), reads=False)
    assert "PasswordUnreadable" in asked_by_nobody((), reads=True)


def test_missing_password_is_an_error(passwords: Path) -> None:
    with pytest.raises(ConfigError, match="hookd-operator cannot be read: No such file"):
        cli_user(config(passwords), reads=True)


@pytest.mark.parametrize("connect", [receiver_client, cli_client])
def test_connection_hides_the_password(connect: Callable[[str, RedisUser], Redis]) -> None:
    client = connect("unix:///run/redis.sock?db=3", USER)
    assert client.connection_pool.connection_kwargs["credential_provider"] is USER
    for text in (repr(client), repr(client.connection_pool), str(client.connection_pool.connection_kwargs), repr(USER)):
        assert PASSWORD not in text and "wörd" not in text
    assert client.connection_pool.connection_kwargs["db"] == 3


def test_worker_connection_hides_the_password() -> None:
    client = worker_client("unix:///run/redis.sock", USER)
    assert client.connection_pool.connection_kwargs["credential_provider"] is USER
    assert PASSWORD not in repr(client)


@pytest.mark.parametrize(
    "url", ["unix:///run/hookd/redis.sock?db=2", "redis://127.0.0.1:6380/1", "rediss://redis.example.org/0"]
)
def test_url_with_user_survives_parsing(url: str) -> None:
    plain = Redis.from_url(url).connection_pool.connection_kwargs
    read = Redis.from_url(with_user(url, USER)).connection_pool.connection_kwargs
    assert (read["username"], read["password"]) == ("hookd-worker", PASSWORD)
    for part in ("path", "host", "port", "db"):
        assert read.get(part) == plain.get(part)


def test_url_without_user_is_unchanged() -> None:
    assert with_user("unix:///run/redis.sock?db=0", None) == "unix:///run/redis.sock?db=0"


def test_user_names() -> None:
    assert user_name("receiver") == "hookd-receiver"
