"""The files of the host: users, sandboxes, restarts."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from hookd.model.settings import Settings
from tests.support.rendered import (
    ADOPTED,
    APPS,
    AT_HOME,
    BARE_HOST,
    BLOG,
    FOREIGN,
    HOST,
    HOSTS,
    NEW_HOST,
    SHOP,
    directives,
    files,
    links,
    unit,
)
from units.system.facts import Host

UNITS = Path("/etc/systemd/system")
WORKER = "hookd-worker@.service"
# The users of units that run no pushed code.
CLOSED = {"root", "hookd", "hookd-redis"}
# Each of these sets no_new_privs on systemd 252, and so breaks sudo (docs and measurements: systemd.exec(5)).
BREAKS_SUDO = {
    "NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces",
    "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock",
    "ProtectHostname", "MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
}  # fmt: skip
BREAKS_SUDO_EVERYWHERE = {"NoNewPrivileges", "PrivateUsers", "SecureBits", "AmbientCapabilities"}


def test_hookd_toml_is_valid() -> None:
    settings = Settings.model_validate(tomllib.loads(files(HOST)[Path("/etc/hookd/hookd.toml")].text))
    assert settings.redis.url == "unix:///run/hookd-redis/redis.sock?db=0"
    assert settings.redis.passwords == Path("/etc/hookd/redis")
    assert settings.receiver.bind == "unix:/run/hookd/receiver.sock"
    assert settings.receiver.secrets == Path("/etc/hookd/secrets")
    assert settings.receiver.token_file == Path("/etc/hookd/token")
    assert settings.receiver.max_body == HOST.max_body
    assert not settings.receiver.public_status
    assert settings.logs == Path("/var/log/hookd")
    assert settings.worker.git_protocols == ("https", "ssh")


def test_only_hookd_toml_keeps_edits() -> None:
    assert [path.name for path, file in files(HOST, *APPS).items() if file.existing == "keep"] == ["hookd.toml"]


@pytest.mark.parametrize("host", [HOST, NEW_HOST, BARE_HOST], ids=["252", "257", "bare"])
def test_only_root_writes_files(host: object) -> None:
    for path, file in files(host, *APPS).items():  # type: ignore[arg-type]
        assert (file.owner, file.group) == ("root", "root"), path
        assert file.mode == (0o440 if path.parent.name == "sudoers.d" else 0o644), path


@pytest.mark.promise(39)
def test_receiver_has_no_privileges() -> None:
    receiver = unit(HOST, "hookd.service")
    assert receiver["User"] == ["hookd"]
    assert receiver["SupplementaryGroups"] == ["hookd-queue"]
    assert receiver["CapabilityBoundingSet"] == receiver["AmbientCapabilities"] == [""]
    for key in ("NoNewPrivileges", "PrivateNetwork", "PrivateUsers", "ProtectHome", "MemoryDenyWriteExecute"):
        assert receiver[key] == ["yes"], key
    assert receiver["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert receiver["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in receiver
    assert "EnvironmentFile" not in receiver


def test_secrets_reach_only_their_process() -> None:
    given = {
        name: unit(HOST, name, SHOP).get("LoadCredential", []) for name in ("hookd.service", WORKER, "shop.service")
    }
    assert given == {
        "hookd.service": [
            "secrets:/etc/hookd/secrets",
            "token:/etc/hookd/token",
            "redis_receiver:/etc/hookd/redis/receiver",
            "redis_status:/etc/hookd/redis/status",
        ],
        WORKER: ["redis_worker:/etc/hookd/redis/worker"],
        "shop.service": [],
    }


@pytest.mark.threat(9)
def test_only_nginx_reaches_the_receiver() -> None:
    """The worker's user is in the group of nginx, and must not name clients."""
    socket_unit = unit(HOST, "hookd.socket")
    assert socket_unit["ListenStream"] == ["/run/hookd/receiver.sock"]
    assert (socket_unit["SocketUser"], socket_unit["SocketMode"]) == (["www-data"], ["0600"])


@pytest.mark.threat(9, 73)
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_pushed_code_sees_no_receiver(host: Host) -> None:
    """Hide the receiver in each unit that deploys, builds, checks or serves an app."""
    found = {path.name: directives(file.text) for path, file in files(host, *APPS).items() if path.suffix == ".service"}
    ours = {name: parts for name, parts in found.items() if parts.get("User", ["root"])[0] not in CLOSED}
    assert {"hookd-worker@.service", "hookd-reconcile.service", "shop.service", "shop-blue.service"} <= ours.keys()
    for name, parts in ours.items():
        hidden = " ".join((*parts.get("InaccessiblePaths", ()), *parts.get("TemporaryFileSystem", ()))).split()
        assert {"-/run/hookd", "/run:ro"}.intersection(hidden), name


@pytest.mark.parametrize("name", ["hookd.service", "hookd-redis.service", WORKER])
def test_what_serves_always_comes_back(name: str) -> None:
    service = unit(HOST, name)
    assert service["Restart"] == ["always"]
    assert service["StartLimitIntervalSec"] == ["0"]
    assert service["WantedBy"] == ["multi-user.target"]


def test_worker_start_triggers_reconcile() -> None:
    """The worker does not wait for it, because it waits for git hosts."""
    worker = unit(HOST, WORKER)
    assert "hookd-reconcile.service" in worker["Wants"]
    assert "hookd-reconcile.service" not in worker["After"]
    assert "hookd-reconcile.service" not in worker.get("Requires", [])


def test_worker_writes_only_its_paths() -> None:
    worker = unit(HOST, WORKER, *APPS)
    assert worker["ProtectSystem"] == ["strict"]
    assert worker["ReadWritePaths"] == [
        "/var/lib/hookd /var/log/hookd",
        *(f"-{path}" for path in ("/home/me/mine", "/opt/old", "/srv/blog", "/srv/ledger", "/srv/shop", "/srv/wiki")),
        *(f"-/var/lib/{name}" for name in ("blog", "ledger", "old", "shop", "wiki")),
    ]


def test_worker_sees_home_only_for_apps() -> None:
    assert unit(HOST, WORKER, SHOP)["ProtectHome"] == ["yes"]
    assert unit(HOST, WORKER, SHOP, AT_HOME)["ProtectHome"] == ["read-only"]


@pytest.mark.threat(34)
def test_stop_waits_for_the_longest_deployment() -> None:
    slow = SHOP.model_copy(update={"limits": SHOP.limits.model_copy(update={"deploy_seconds": 7200})})
    assert unit(HOST, WORKER, BLOG, slow)["TimeoutStopSec"] == ["7260"]
    assert unit(HOST, WORKER)["TimeoutStopSec"] == ["1860"]
    assert unit(HOST, WORKER)["KillMode"] == ["mixed"]


@pytest.mark.threat(23)
@pytest.mark.parametrize("name", [WORKER, "shop.service"])
def test_nothing_breaks_sudo_before_257(name: str) -> None:
    service = unit(HOST, name, SHOP)
    assert not set(service) & BREAKS_SUDO
    assert service["CapabilityBoundingSet"] == ["CAP_SETUID CAP_SETGID CAP_AUDIT_WRITE"]


@pytest.mark.threat(23)
@pytest.mark.parametrize("name", [WORKER, "shop.service"])
def test_strict_sandbox_keeps_sudo(name: str) -> None:
    service = unit(NEW_HOST, name, SHOP)
    assert {"SystemCallFilter", "RestrictNamespaces", "PrivateDevices", "ProtectKernelModules"} <= set(service)
    assert not set(service) & BREAKS_SUDO_EVERYWHERE
    # Releases are directories of mode 2750.
    assert "RestrictSUIDSGID" not in service


def test_strict_sandbox_is_a_drop_in() -> None:
    drop_in = UNITS / f"{WORKER}.d/systemd-257.conf"
    assert drop_in in files(NEW_HOST)
    assert drop_in not in files(HOST)


@pytest.mark.threat(81)
def test_redis_configuration() -> None:
    text = files(HOST)[Path("/etc/hookd/redis.conf")].text
    said = dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    wanted = {
        "port": "0",
        "unixsocket": "/run/hookd-redis/redis.sock",
        "unixsocketperm": "770",
        "aclfile": "/etc/hookd/redis.acl",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "proto-max-bulk-len": "1mb",
        "save": '""',
    }
    assert {key: said[key] for key in wanted} == wanted


def test_own_redis_runs_through_current() -> None:
    own, distribution = unit(NEW_HOST, "hookd-redis.service"), unit(HOST, "hookd-redis.service")
    assert own["ExecStart"] == ["/opt/hookd/current/venv/lib/server /etc/hookd/redis.conf"]
    assert (own["Type"], distribution["Type"]) == (["exec"], ["notify"])
    assert "supervised no" in files(NEW_HOST)[Path("/etc/hookd/redis.conf")].text


def test_only_queue_group_reaches_redis() -> None:
    redis = unit(HOST, "hookd-redis.service")
    assert (redis["User"], redis["Group"]) == (["hookd-redis"], ["hookd-queue"])
    assert (redis["RuntimeDirectory"], redis["RuntimeDirectoryMode"]) == (["hookd-redis"], ["0750"])


def test_bare_host_gets_fewer_files() -> None:
    places = {path.parts[2] for path in files(BARE_HOST, *APPS)}
    assert places == {"hookd", "systemd", "sudoers.d", "logrotate.d", "tmpfiles.d"}
    assert not [path for path in links(BARE_HOST, *APPS) if not path.is_relative_to(UNITS)]


def test_links_enable_the_sites() -> None:
    assert links(HOST, SHOP, AT_HOME) == {
        Path(f"/etc/nginx/sites-enabled/{name}"): Path(f"/etc/nginx/sites-available/{name}")
        for name in ("hookd", "hookd-shop")
    }


def test_nginx_limits_bodies_and_names_clients() -> None:
    host = replace(HOST, max_body=5 * 1024 * 1024 + 1)
    text = files(host)[Path("/etc/nginx/sites-available/hookd")].text
    assert "    client_max_body_size 6m;\n" in text
    assert text.count("X-Forwarded-For") == text.count("proxy_set_header X-Forwarded-For $remote_addr;") == 1


def test_certificate_turns_on_https() -> None:
    path = Path("/etc/nginx/sites-available/hookd-shop")
    plain, encrypted = files(HOST, SHOP)[path].text, files(NEW_HOST, SHOP)[path].text
    assert "\n    listen 443" not in plain
    assert "sudo hookd certify" in plain
    assert "ssl_certificate /etc/letsencrypt/live/shop.example.org/fullchain.pem;" in encrypted
    assert "return 301 https://shop.example.org$request_uri;" in encrypted
    assert "location ^~ /.well-known/acme-challenge/" in plain
    assert encrypted.count("location ^~ /.well-known/acme-challenge/") == 2


def test_logs_expire_with_their_records() -> None:
    assert "    minage 30\n" in files(replace(HOST, history_days=30))[Path("/etc/logrotate.d/hookd")].text


@pytest.mark.parametrize("app", [SHOP, BLOG, ADOPTED, FOREIGN, AT_HOME], ids=lambda app: app.name)
def test_files_name_no_other_app(app: object) -> None:
    for path in files(HOST, app):  # type: ignore[arg-type]
        assert not any(other.name in path.name for other in APPS if other is not app), path
