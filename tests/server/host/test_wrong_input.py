"""Wrong commands on a real server: all problems are named at once, and nothing changes."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.unchanged import refusals, unchanged

REPOSITORY: Final = "git@git.example.org:acme/blog.git"
REPO: Final = ("--repo", REPOSITORY)
NAMES: Final = ("Blog", "1blog", "-blog", "b" * 33, "../blog", "", "bl\nog", "é")
# Arguments of `app add blog`, and the words of their refusal.
OPTIONS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (("--repo", "https://user:word@git.example.org/acme/blog.git"), ("repository", "without credentials")),
    (("--repo", "https://git.example.org/acme/blog.git?access_token=1"), ("repository", "without credentials")),
    (("--repo", "ext::sh -c touch% /pwned"), ("repository",)),
    (("--repo", "ftp://git.example.org/acme/blog.git"), ("repository",)),
    (("--repo=--upload-pack=touch /pwned",), ("repository",)),
    ((*REPO, "--branch=-x"), ("branch",)),
    ((*REPO, "--domain", "shop.example.org"), ("shop.example.org is served already",)),
    ((*REPO, "--domain", "other.example.org"), ("other.example.org is served already",)),
    ((*REPO, "--domain", RECEIVER_DOMAIN), (f"{RECEIVER_DOMAIN} is served already",)),
    ((*REPO, "--domain", "a b; }"), ("domain",)),
    ((*REPO, "--entry", "wsgi app"), ("entry",)),
    ((*REPO, "--workers", "two"), ("workers",)),
    ((*REPO, "--data", "../../etc"), ("shared.directories",)),
    ((*REPO, "--file", "/etc/passwd"), ("shared.files",)),
    ((*REPO, "--file", ".env=/root/nothing"), ("/root/nothing",)),
    ((*REPO, "--handover", "red"), ("--handover",)),
    ((), ("either --repo URL or --from FILE",)),
    ((*REPO, "--from", "/root/wrong.toml"), ("either --repo URL or --from FILE",)),
    (("--from", "/root/broken.toml"), ("/root/broken.toml: not TOML",)),
    (("--from", "/root/wrong.toml"), ("repository", "branches", "handover")),
    (("--from", "/root/named.toml"), ("name: remove this key",)),
    (("--from", "/root/missing.toml"), ("the unit missing.service",)),
    (
        ("--repo", "ftp://git.example.org/acme/blog.git", "--branch=-x", "--workers", "0"),
        ("repository", "branch", "workers"),
    ),
)
COMMANDS: Final = (
    ("app edit nobody --set branch=x", "there is no app 'nobody'"),
    ("app remove nobody --yes", "there is no app 'nobody'"),
    ("app add shop --repo git@git.example.org:acme/other.git", "the app shop exists"),
    ("start nobody", "there is no app 'nobody'"),
    ("secret rotate nobody", "there is no app 'nobody'"),
    ("secret rotate shop --finish", "no rotation to finish"),
    ("app edit shop --set branch", "'branch' is not KEY=VALUE, such as health.deadline=60"),
    ("app edit shop --set branch=-x", "branch"),
    ("app edit shop --set =x", "'=x' is not KEY=VALUE"),
    ("app edit shop --set branch.x=1", "branch is a value"),
    ("app edit shop --set name=store", "name: remove this key"),
    ("app edit shop --set root=/etc", "root cannot be changed"),
    ("app edit shop --set shared.data=/var/lib", "shared.data cannot be changed"),
    ("app edit shop --set service.name=nginx", "service.name cannot be changed"),
    ("app edit shop --set service.units=existing", "service.units cannot be changed"),
    ("app edit shop --set site.domain=other.example.org", "other.example.org is served already"),
    (f"app edit shop --set site.domain={RECEIVER_DOMAIN}", f"{RECEIVER_DOMAIN} is served already"),
    ("setup --domain a;b", "--domain"),
    ("setup --domain other.example.org", "other.example.org is served already"),
    ("setup --domain shop.example.org", "shop.example.org is served already"),
    ("setup --colour red", "--colour"),
    ("app adopt /nowhere", "/nowhere"),
)


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with one app, and with files of others that conflict with a new app."""
    table = (
        f'repository = "{REPOSITORY}"\nfull_name = "acme/blog"\nbranch = "main"\nsender = "gitea"\nroot = "/srv/blog"\n'
    )
    service = '[service]\nunits = "existing"\nname = "missing"\n[health]\nurl = "http://127.0.0.1:8000/"\n'
    with servers.start(shop_layer(servers)) as machine:
        machine.wait_until(lambda: Shop(machine).page() == "v1", what="the shop")
        machine.write("/srv/full/foreign.txt", "mine")
        machine.write("/var/lib/full/foreign.txt", "mine")
        machine.write("/etc/systemd/system/taken.service", "[Service]\nExecStart=/bin/true\n")
        machine.write("/etc/nginx/sites-enabled/other", "server { listen 80; server_name x.org other.example.org; }\n")
        machine.write("/root/broken.toml", "repository = \n")
        machine.write("/root/wrong.toml", "repository = 7\nbranches = 'main'\n[service]\nhandover = 'red'\n")
        machine.write("/root/missing.toml", table + service)
        machine.write("/root/named.toml", f'name = "store"\n{table}{service}')
        machine.run("systemctl", "daemon-reload")
        yield machine


def test_wrong_names_are_refused(server: Machine) -> None:
    with unchanged(server):
        messages = refusals(server, [("app", "add", *REPO, "--", name) for name in NAMES])
    assert [one for one in messages if "cannot name an app: a-z, then a-z, 0-9, -" not in one] == []


def test_wrong_values_are_named(server: Machine) -> None:
    with unchanged(server):
        messages = refusals(server, [("app", "add", "blog", *options) for options, _ in OPTIONS])
    answers = zip(OPTIONS, messages, strict=True)
    assert [answer for (options, named), answer in answers if not all(part in answer for part in named)] == []
    assert not server.path("/pwned").exists()
    assert "word" not in "".join(messages).replace("password", ""), "a password was shown"


def test_all_conflicts_are_named_at_once(server: Machine) -> None:
    """Name full directories for releases and data, an existing unit, and a served domain."""
    options = (*REPO, "--domain", "other.example.org", "--data", "uploads")
    with unchanged(server):
        full, taken = refusals(server, [("app", "add", name, *options) for name in ("full", "taken")])
    assert "/srv/full (root) exists and is not empty" in full
    assert "/var/lib/full (shared.data) exists and is not empty" in full
    assert "the unit taken.service exists" in taken
    assert all("other.example.org is served already" in message for message in (full, taken))


def test_other_commands_are_refused(server: Machine) -> None:
    with unchanged(server):
        messages = refusals(server, [command.split() for command, _ in COMMANDS])
    answers = zip(COMMANDS, messages, strict=True)
    assert [(command, answer) for (command, named), answer in answers if named not in answer] == []


def test_broken_nginx_files_hide_no_conflict(server: Machine) -> None:
    """Refuse a new site while nginx' files have an error, and permit changes of existing apps."""
    mistake = server.path("/etc/nginx/sites-enabled/mistake")
    server.write("/etc/nginx/sites-enabled/mistake", "server { listen 80; server_nam wrong.example.org; }\n")
    try:
        with unchanged(server):
            (message,) = refusals(server, [("app", "add", "blog", *REPO, "--domain", "other.example.org")])
        assert "nginx rejects its configuration" in message and "server_nam" in message
        server.run("hookd", "setup", "--dry-run")
        server.run("hookd", "app", "edit", "shop", "--set", "limits.keep_releases=4", "--dry-run")
    finally:
        mistake.unlink()
