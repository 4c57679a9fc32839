"""The complete lists of what each user and service of hookd can write, connect to and read."""

from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.neighbours import CANARY, neighbours_layer, wait_for_services
from tests.support.server.reach import Reach, of_service, of_user
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop
from tests.support.server.web import Answer, ask, push

# Directories of hookd with files that not every user may read.
PLACES: Final = (
    *("/etc/hookd", "/run/credentials", "/var/lib/hookd", "/var/lib/hookd-redis", "/var/lib/hookd-setup"),
    *("/var/log/hookd", "/srv", "/var/lib/shop", "/var/lib/blog"),
)
ANYBODY_WRITES: Final = {
    "/tmp": "Debian's, for temporary files; a service has its own",
    "/var/tmp": "the same, for larger ones",
    "/dev/shm": "Debian's, for shared memory",
    "/dev/mqueue": "Debian's, for message queues",
    "/run/lock": "Debian's, for locks of old programs",
}
ANYBODY_CONNECTS: Final = {
    "/run/dbus/system_bus_socket": "the bus, which asks polkit",
    "/run/systemd/io.system.ManagedOOM": "systemd's, for its own services",
    "/run/systemd/journal/dev-log": "the journal takes everybody's lines",
    "/run/systemd/journal/socket": "the journal",
    "/run/systemd/journal/stdout": "the journal",
    "/run/systemd/notify": "systemd checks the sender",
    "/run/systemd/userdb/io.systemd.DynamicUser": "systemd's names of users",
}
ANYBODY_READS: Final = {
    "/etc/hookd/hookd.toml": "names of files that hold secrets, no secrets",
    "/etc/hookd/apps/shop.toml": "the catalogue holds no secrets",
    "/etc/hookd/apps/blog.toml": "the same",
    "/etc/hookd/known_hosts": "public keys",
    "/etc/hookd/redis.conf": "names of files",
}
DEVICES: Final = {f"/dev/{name}" for name in ("full", "null", "pts/ptmx", "random", "urandom", "zero")}
NGINX: Final = {f"/var/lib/nginx/{name}": "Debian's nginx runs as www-data" for name in (
    "body", "fastcgi", "proxy", "scgi", "uwsgi",
)}  # fmt: skip
# The shop is the host's first app and runs as www-data, the blog has a user of its own.
DATA: Final = {
    "/var/lib/shop/uploads": "the shop's own data",
    "/var/lib/blog/logs": "the blog's own data",
}
HOMES: Final = {
    "/var/cache/hookd-apps/shop": "the shop's home",
    "/var/cache/hookd-apps/blog": "the blog's home",
}
SHOPS_DATA: Final = {path: why for path, why in {**DATA, **HOMES}.items() if "shop" in path}
SITES: Final = {
    "/run/hookd-apps/shop.sock": "nginx brings the shop's visitors",
    "/run/hookd-apps/blog.sock": "nginx brings the blog's visitors",
}
DOORS: Final = {**SITES, "/run/hookd/receiver.sock": "nginx brings the pushes"}
QUEUE: Final = {"/run/hookd-redis/redis.sock": "the queue, whose commands depend on the password"}
# The commands of builds.
PLANS: Final = frozenset({"/run/hookd-phases/shop.plan", "/run/hookd-phases/blog.plan"})
WORKER_WRITES: Final = {
    "/srv/shop": "releases",
    "/srv/blog": "releases",
    "/var/lib/hookd": "mirrors, journals, keys",
    "/var/log/hookd": "logs of deployments",
    **DATA,
}


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with two apps."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        yield machine


def assert_reaches(
    reach: Reach,
    *,
    writes: Mapping[str, str],
    connects: Mapping[str, str],
    files: frozenset[str] = frozenset(),
    closed: frozenset[str] = frozenset(),
) -> None:
    """Compare the findings with the rights of every user, without `closed`, and the listed ones."""
    assert reach.directories == {*ANYBODY_WRITES, *writes}
    assert reach.files == files
    assert reach.sockets == {*ANYBODY_CONNECTS, *connects} - closed
    assert reach.devices == DEVICES


def below(reach: Reach, *places: str) -> set[str]:
    """Return the readable files in some places."""
    return {path for path in reach.readable if path.startswith(tuple(f"{place}/" for place in places))}


def test_other_users_reach_nothing(server: Machine) -> None:
    reach = of_user(server, "nobody", *PLACES)
    assert_reaches(reach, writes={}, connects={})
    assert reach.readable == set(ANYBODY_READS)


@pytest.mark.threat(11, 25, 69)
@pytest.mark.promise(41)
def test_web_user_writes_app_data_only(server: Machine) -> None:
    """nginx and the host's first app run as this user."""
    reach = of_user(server, "www-data", *PLACES)
    logs = frozenset({"/var/log/nginx/access.log", "/var/log/nginx/error.log"})
    assert_reaches(reach, writes={**NGINX, **SHOPS_DATA}, connects=DOORS, files=logs)
    assert below(reach, *PLACES[:-3]) == set(ANYBODY_READS)
    assert below(reach, "/srv/blog", "/var/lib/blog") == set()


@pytest.mark.promise(39)
def test_receiver_user_writes_nowhere(server: Machine) -> None:
    assert_reaches(of_user(server, "hookd"), writes={}, connects=QUEUE)


def test_receiver_reads_credentials_and_logs_only(server: Machine) -> None:
    reach = of_service(server, "hookd.service", *PLACES)
    assert_reaches(reach, writes={}, connects=QUEUE)
    names = {"redis_receiver", "redis_status", "secrets_blog", "secrets_shop", "token"}
    logs = below(reach, "/var/log/hookd")
    assert {path.split("/")[4] for path in logs} == {"blog", "shop"}
    assert reach.readable - logs == {*ANYBODY_READS, *(f"/run/credentials/hookd.service/{name}" for name in names)}


@pytest.mark.threat(25, 69)
@pytest.mark.promise(41)
@pytest.mark.parametrize(
    ("app", "unit", "other"), [("shop", "shop-blue.service", "blog"), ("blog", "blog.service", "shop")]
)
def test_app_reaches_its_own_files(server: Machine, app: str, unit: str, other: str) -> None:
    reach = of_service(server, unit, *PLACES)
    own = {path: why for path, why in {**DATA, **HOMES}.items() if f"/{app}/" in f"{path}/"}
    assert_reaches(reach, writes=own, connects={}, closed=frozenset({"/run/dbus/system_bus_socket"}))
    assert below(reach, *PLACES[:-3]) == set(ANYBODY_READS)
    assert below(reach, f"/srv/{app}/releases") != set()
    assert below(reach, f"/srv/{other}", f"/var/lib/{other}") == set()


@pytest.mark.threat(26)
def test_worker_reads_no_webhook_secret(server: Machine) -> None:
    own = {"/run/hookd-apps/shop-blue.sock": "the health page of the colour that serves", **SITES, **QUEUE}
    assert_reaches(of_user(server, "manager"), writes=WORKER_WRITES, connects=own, files=PLANS)
    reach = of_service(server, "hookd-worker@1.service", *PLACES)
    assert_reaches(reach, writes=WORKER_WRITES, connects=own, files=PLANS)
    variables = {f"/etc/hookd/env/{app}{end}" for app in ("shop", "blog") for end in ("", ".build")}
    assert below(reach, "/etc/hookd") == {*ANYBODY_READS, *variables}
    assert below(reach, "/run/credentials") == {"/run/credentials/hookd-worker@1.service/redis_worker"}
    assert below(reach, "/var/lib/hookd-redis", "/var/lib/hookd-setup") == set()


def test_redis_writes_its_data_only(server: Machine) -> None:
    own = {"/var/lib/hookd-redis": "its data", "/run/hookd-redis": "its socket"}
    reach = of_service(server, "hookd-redis.service", *PLACES)
    assert_reaches(reach, writes=own, connects=QUEUE)
    assert below(reach, *PLACES) - below(reach, "/var/lib/hookd-redis") == {*ANYBODY_READS, "/etc/hookd/redis.acl"}


def test_hookd_listens_on_no_port(server: Machine) -> None:
    listening = server.run("ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric").stdout
    ports = {line.split()[4].rpartition(":")[2] for line in listening.splitlines()}
    assert ports == {"80", "22", "2222"}  # nginx, and the git host of these tests.


# --- canaries


def secrets_of(machine: Machine) -> dict[str, str]:
    """Return every secret on this server."""
    roles = ("receiver", "status", "worker", "operator")
    return {
        **{f"Redis password of {role}": machine.read(f"/etc/hookd/redis/{role}").strip() for role in roles},
        **{f"webhook secret of {app}": machine.read(f"/etc/hookd/secrets/{app}").strip() for app in ("shop", "blog")},
        **{f"key of {app}": machine.read(f"/var/lib/hookd/keys/{app}").splitlines()[2] for app in ("shop", "blog")},
        "token": machine.read("/etc/hookd/token").strip(),
        "app's variable": CANARY,
    }


def leaked_secrets(machine: Machine, *texts: str) -> list[str]:
    """Return the names of the secrets in some texts."""
    return [name for name, secret in secrets_of(machine).items() for text in texts if secret in text]


@pytest.mark.threat(21)
def test_logs_hold_no_secret(server: Machine) -> None:
    Shop(server, "blog").push("broken", {"wsgi.py": "raise RuntimeError('broken')\n"})
    assert leaked_secrets(server, server.run("journalctl", "--no-pager", "--output=export", "--all").stdout) == []
    logs = [path.read_text() for path in server.path("/var/log/hookd").rglob("*.log")]
    assert any("RuntimeError: broken" in log for log in logs)
    assert leaked_secrets(server, *logs) == []


@pytest.mark.threat(21)
@pytest.mark.parametrize("user", ["nobody", "hookd", "hookd-redis"])
def test_other_users_see_no_secret(server: Machine, user: str) -> None:
    processes = server.run("ps", "auxeww", user=user).stdout
    assert "hookd.cli serve" in processes
    units = server.run("systemctl", "show", "*", user=user).stdout + server.run("systemctl", "show-environment").stdout
    assert "Id=blog.service" in units
    assert leaked_secrets(server, processes, units) == []
    own = {"hookd": "/run/credentials/hookd.service", "hookd-redis": "/nowhere", "nobody": "/nowhere"}[user]
    searched = ("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var")
    wanted = "".join(f"{secret}\n" for secret in secrets_of(server).values())
    argv = ("grep", "-rlsF", "--devices=skip", "--file=-", "--", *searched)
    found = server.run(*argv, user=user, input=wanted, check=False).stdout.splitlines()
    assert [path for path in found if not path.startswith(own)] == []


@pytest.mark.threat(21)
def test_error_pages_hold_no_secret(server: Machine) -> None:
    answers = [*refusals(server), *(ask(server, f"{app}.example.org", "/nothing/here") for app in ("shop", "blog"))]
    assert {answer.status for answer in answers} > {401, 404}
    assert leaked_secrets(server, *(f"{answer.headers}{answer.text}" for answer in answers)) == []


def refusals(machine: Machine) -> list[Answer]:
    """Return the receiver's answers to requests that it refuses."""
    wrong = push(machine, RECEIVER_DOMAIN, "shop", "f" * 64)
    unknown = push(machine, RECEIVER_DOMAIN, "nobody", "f" * 64)
    pages = [ask(machine, RECEIVER_DOMAIN, path) for path in ("/deployments/x", "/hooks/shop", "/nothing")]
    odd = ask(machine, RECEIVER_DOMAIN, "/hooks/shop", method="POST", body=b"{", headers={"X-GitHub-Event": "push"})
    return [wrong, unknown, odd, *pages]
