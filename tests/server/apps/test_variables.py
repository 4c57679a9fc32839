"""An app's variables on a server: one meaning for build, migration and service, or a refusal before any change."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from hookd.variables import spell
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.unchanged import refusals, unchanged
from tests.support.variables import CASE

FILE: Final = "/etc/hookd/env/shop"
WSGI: Final = """\
import json, os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [json.dumps({name: value for name, value in os.environ.items() if name.startswith("T_")}).encode()]
"""
HOME_APP: Final = """\
import json, os, pathlib
count = pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "visits" / os.environ["HOOKD_COMMIT"]
count.parent.mkdir(parents=True, exist_ok=True)
count.touch()
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    facts = {"visits": len(list(count.parent.iterdir())), "REVISION": open("REVISION").read().strip()}
    return [json.dumps({**os.environ, **facts}).encode()]
"""
DUMP: Final = """\
import json, os, sys
print(sys.argv[1], json.dumps({name: value for name, value in os.environ.items() if name.startswith("T_")}))
"""
VALUES: Final = {
    "T_PLAIN": "same",
    "T_WORDS": "two words # and 'more'",
    "T_LINES": "first\nsecond=",
    "T_SIGNS": 'pa$s\\word "quoted" `id` ${HOME} %h %%',
    "T_UNICODE": "größe",
    "T_EMPTY": "",
}


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app that shows its variables."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


@pytest.fixture
def plain(shop: Shop) -> Iterator[Shop]:
    """The same, whose variables become plain again."""
    yield shop
    shop.machine.write(FILE, "T_PLAIN=same\n", 0o640, "root:manager")


@pytest.mark.threat(85)
def test_same_variables_everywhere(plain: Shop) -> None:
    """The build has a file of its own."""
    for file in (FILE, f"{FILE}.build"):
        plain.machine.write(file, "".join(spell(*pair) for pair in VALUES.items()), 0o640, "root:manager")
    run = (f'{key}=[["python", "dump.py", "{key}"]]' for key in ("build.commands", "release.commands"))
    plain.hookd("app", "edit", "shop", *(word for change in run for word in ("--set", change)))
    record = plain.push("shows", {"wsgi.py": WSGI, "dump.py": DUMP})
    assert record["status"] == "succeeded"
    log = plain.hookd("logs", record["id"])
    printed = [line.partition("commands {")[2] for line in log.splitlines() if "commands {" in line]
    assert [json.loads(f"{{{text}") for text in printed] == [VALUES, VALUES]
    assert json.loads(plain.page()) == VALUES


@pytest.mark.threat(85)
def test_commands_refuse_misread_lines(plain: Shop) -> None:
    machine = plain.machine
    machine.write("/root/case.env", CASE)
    machine.write(FILE, "T_PLAIN=same\nT_COMMENT=canary # the cache\n", 0o640, "root:manager")
    machine.write("/root/blog.toml", 'repository = "git@git.example.org:acme/blog.git"\n[service]\nunits = "hookd"\n')
    add = ("app", "add", "blog", "--env-file", "/root/case.env")
    with unchanged(machine):
        added, unused, edited, restarted = refusals(
            machine,
            [
                (*add, "--repo", "git@git.example.org:acme/blog.git"),
                ("app", "add", "blog", "--env-file", "/dev/null", "--from", "/root/blog.toml"),
                ("app", "edit", "shop", "--set", "health.deadline=9"),
                ("restart", "shop"),
            ],
        )
    assert [f"case.env line {number}: " in added for number in range(1, 8)] == [True] * 6 + [False]
    assert "next: ${EDITOR:-vi} /root/case.env" in added
    assert 'unused without service.environment_file = "/etc/hookd/env/blog"' in unused
    problem = f'{FILE} line 2: a comment needs a line of its own, write T_COMMENT="..."'
    assert all(f"{problem}\n    next: sudoedit {FILE}" in said for said in (edited, restarted))
    assert "canary" not in edited + restarted


@pytest.mark.threat(85)
def test_push_refuses_misread_line(plain: Shop) -> None:
    """The old release serves, the doctor finds the line, and the same commit is deployed after a correction."""
    plain.machine.write(FILE, "T_PLAIN=same\nexport T_OTHER=canary\n", 0o640, "root:manager")
    before = plain.page()
    commit = plain.commit("after the correction")
    refused = plain.ending(plain.deliver(commit))
    cause = f'{FILE} line 2: `export` is not understood, write T_OTHER="..."'
    assert (refused["status"], refused["cause"], plain.page()) == ("failed", cause, before)
    doctor = plain.machine.run("hookd", "doctor", "shop", check=False)
    assert cause in doctor.stdout
    assert f"sudoedit {FILE}" in doctor.stdout
    plain.machine.write(FILE, "T_PLAIN=same\n", 0o640, "root:manager")
    assert plain.ending(plain.deliver(commit))["status"] == "succeeded"
    assert plain.page() == "after the correction"


def test_app_knows_its_release_and_home(plain: Shop) -> None:
    """The service, the build and a release command have the same variables. The home outlives a release."""
    plain.machine.write(FILE, "T_PLAIN=same\n", 0o640, "root:manager")
    show = 'echo "$HOOKD_APP $HOOKD_RELEASE $HOOKD_COMMIT"'
    keys = (f'{key}=[["sh", "-c", {json.dumps(show)}]]' for key in ("build.commands", "release.commands"))
    plain.hookd("app", "edit", "shop", *(word for change in keys for word in ("--set", change)))
    first = plain.push("at home", {"wsgi.py": HOME_APP})
    facts = f"shop {first['release']} {first['commit']}"
    log = plain.hookd("logs", first["id"])
    assert log.count(facts) == 2
    names = ("HOOKD_APP", "HOOKD_RELEASE", "HOOKD_COMMIT")
    page = json.loads(plain.page())
    assert (" ".join(page[name] for name in names), page["visits"]) == (facts, 1)
    assert (page["REVISION"], page["HOME"]) == (first["commit"], "/var/cache/hookd-apps/shop")
    plain.push("at home again", {"wsgi.py": HOME_APP + "# again\n"})
    assert json.loads(plain.page())["visits"] == 2
    assert plain.machine.shell(f"stat -c %U:%G:%a {page['HOME']}").strip() == "www-data:www-data:700"
