"""What the host's files say where it matters: who runs as whom, what each may touch, and what brings it back."""

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
    NEW_HOST,
    SHOP,
    files,
    links,
    unit,
)

UNITS = Path("/etc/systemd/system")
WORKER = "hookd-worker@.service"
# Each of these sets no_new_privs on systemd 252, and so breaks sudo (docs and measurements: systemd.exec(5)).
BREAKS_SUDO = {
    "NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces",
    "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock",
    "ProtectHostname", "MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
}  # fmt: skip
BREAKS_SUDO_EVERYWHERE = {"NoNewPrivileges", "PrivateUsers", "SecureBits", "AmbientCapabilities"}


def test_hookd_toml_is_what_hookd_reads_and_names_the_places_of_this_host() -> None:
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


def test_hookd_toml_is_written_once_and_all_else_belongs_to_the_plan() -> None:
    assert [path.name for path, file in files(HOST, *APPS).items() if file.existing == "keep"] == ["hookd.toml"]


@pytest.mark.parametrize("host", [HOST, NEW_HOST, BARE_HOST], ids=["252", "257", "bare"])
def test_every_file_belongs_to_root_and_nobody_else_can_write_it(host: object) -> None:
    for path, file in files(host, *APPS).items():  # type: ignore[arg-type]
        assert (file.owner, file.group) == ("root", "root"), path
        assert file.mode == (0o440 if path.parent.name == "sudoers.d" else 0o644), path


@pytest.mark.promise(39)
def test_the_receiver_can_do_nothing_but_answer() -> None:
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


def test_secrets_reach_the_process_that_needs_them_and_no_other() -> None:
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


def test_only_nginx_can_connect_to_the_receiver() -> None:
    door = unit(HOST, "hookd.socket")
    assert door["ListenStream"] == ["/run/hookd/receiver.sock"]
    assert (door["SocketUser"], door["SocketGroup"], door["SocketMode"]) == (["root"], ["www-data"], ["0660"])


@pytest.mark.parametrize("name", ["hookd.service", "hookd-redis.service", WORKER])
def test_what_serves_always_comes_back(name: str) -> None:
    service = unit(HOST, name)
    assert service["Restart"] == ["always"]
    assert service["StartLimitIntervalSec"] == ["0"]
    assert service["WantedBy"] == ["multi-user.target"]


def test_a_worker_that_starts_has_what_was_missed_meanwhile_looked_for() -> None:
    """Without waiting for that: the look itself waits for git hosts."""
    worker = unit(HOST, WORKER)
    assert "hookd-reconcile.service" in worker["Wants"]
    assert "hookd-reconcile.service" not in worker["After"]
    assert "hookd-reconcile.service" not in worker.get("Requires", [])


def test_the_worker_writes_to_its_state_its_logs_and_the_apps_and_nowhere_else() -> None:
    worker = unit(HOST, WORKER, *APPS)
    assert worker["ProtectSystem"] == ["strict"]
    assert worker["ReadWritePaths"] == [
        "/var/lib/hookd /var/log/hookd",
        *(f"-{path}" for path in ("/home/me/mine", "/opt/old", "/srv/blog", "/srv/shop", "/srv/wiki")),
        *(f"-/var/lib/{name}" for name in ("blog", "old", "shop", "wiki")),
    ]


def test_home_directories_are_hidden_from_the_worker_unless_an_app_lies_in_one() -> None:
    assert unit(HOST, WORKER, SHOP)["ProtectHome"] == ["yes"]
    assert unit(HOST, WORKER, SHOP, AT_HOME)["ProtectHome"] == ["read-only"]


@pytest.mark.threat(34)
def test_a_worker_that_is_stopped_has_time_for_the_longest_deployment() -> None:
    slow = SHOP.model_copy(update={"limits": SHOP.limits.model_copy(update={"deploy_seconds": 7200})})
    assert unit(HOST, WORKER, BLOG, slow)["TimeoutStopSec"] == ["7260"]
    assert unit(HOST, WORKER)["TimeoutStopSec"] == ["1860"]
    assert unit(HOST, WORKER)["KillMode"] == ["mixed"]


@pytest.mark.threat(23)
@pytest.mark.parametrize("name", [WORKER, "shop.service"])
def test_whoever_needs_sudo_has_nothing_that_breaks_it_before_systemd_257(name: str) -> None:
    service = unit(HOST, name, SHOP)
    assert not set(service) & BREAKS_SUDO
    assert service["CapabilityBoundingSet"] == ["CAP_SETUID CAP_SETGID CAP_AUDIT_WRITE"]


@pytest.mark.threat(23)
@pytest.mark.parametrize("name", [WORKER, "shop.service"])
def test_from_257_on_it_is_locked_in_further_and_sudo_still_works(name: str) -> None:
    service = unit(NEW_HOST, name, SHOP)
    assert {"SystemCallFilter", "RestrictNamespaces", "PrivateDevices", "ProtectKernelModules"} <= set(service)
    assert not set(service) & BREAKS_SUDO_EVERYWHERE
    # Releases are directories of mode 2750.
    assert "RestrictSUIDSGID" not in service


def test_the_closer_sandbox_is_a_drop_in_of_its_own() -> None:
    drop_in = UNITS / f"{WORKER}.d/systemd-257.conf"
    assert drop_in in files(NEW_HOST)
    assert drop_in not in files(HOST)


@pytest.mark.threat(81)
def test_redis_listens_on_one_socket_and_never_drops_a_push() -> None:
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


def test_a_server_that_came_with_hookd_is_found_through_the_current_version_and_not_waited_for() -> None:
    own, distribution = unit(NEW_HOST, "hookd-redis.service"), unit(HOST, "hookd-redis.service")
    assert own["ExecStart"] == ["/opt/hookd/current/venv/lib/server /etc/hookd/redis.conf"]
    assert (own["Type"], distribution["Type"]) == (["exec"], ["notify"])
    assert "supervised no" in files(NEW_HOST)[Path("/etc/hookd/redis.conf")].text


def test_only_the_queues_group_comes_to_the_socket_of_redis() -> None:
    redis = unit(HOST, "hookd-redis.service")
    assert (redis["User"], redis["Group"]) == (["hookd-redis"], ["hookd-queue"])
    assert (redis["RuntimeDirectory"], redis["RuntimeDirectoryMode"]) == (["hookd-redis"], ["0750"])


def test_a_host_gets_no_file_of_a_program_that_it_does_not_have() -> None:
    places = {path.parts[2] for path in files(BARE_HOST, *APPS)}
    assert places == {"hookd", "systemd", "sudoers.d", "logrotate.d"}
    assert not [path for path in links(BARE_HOST, *APPS) if not path.is_relative_to(UNITS)]


def test_the_sites_are_turned_on_by_links() -> None:
    assert links(HOST, SHOP, AT_HOME) == {
        Path(f"/etc/nginx/sites-enabled/{name}"): Path(f"/etc/nginx/sites-available/{name}")
        for name in ("hookd", "hookd-shop")
    }


def test_nginx_takes_as_large_a_body_as_the_receiver_and_says_itself_who_the_client_is() -> None:
    host = replace(HOST, max_body=5 * 1024 * 1024 + 1)
    text = files(host)[Path("/etc/nginx/sites-available/hookd")].text
    assert "    client_max_body_size 6m;\n" in text
    assert text.count("X-Forwarded-For") == text.count("proxy_set_header X-Forwarded-For $remote_addr;") == 1


def test_a_site_asks_for_https_as_soon_as_there_is_a_certificate() -> None:
    path = Path("/etc/nginx/sites-available/hookd-shop")
    plain, encrypted = files(HOST, SHOP)[path].text, files(NEW_HOST, SHOP)[path].text
    assert "\n    listen 443" not in plain
    assert "certbot certonly --webroot --webroot-path /var/www/hookd-acme --domain shop.example.org" in plain
    assert "ssl_certificate /etc/letsencrypt/live/shop.example.org/fullchain.pem;" in encrypted
    assert "return 301 https://shop.example.org$request_uri;" in encrypted
    assert "location ^~ /.well-known/acme-challenge/" in plain
    assert encrypted.count("location ^~ /.well-known/acme-challenge/") == 2


def test_old_logs_of_deployments_go_when_their_records_do() -> None:
    assert "    minage 30\n" in files(replace(HOST, history_days=30))[Path("/etc/logrotate.d/hookd")].text


@pytest.mark.parametrize("app", [SHOP, BLOG, ADOPTED, FOREIGN, AT_HOME], ids=lambda app: app.name)
def test_one_apps_files_name_no_other_app(app: object) -> None:
    for path in files(HOST, app):  # type: ignore[arg-type]
        assert not any(other.name in path.name for other in APPS if other is not app), path
