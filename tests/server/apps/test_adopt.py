"""Adoption of a project on a real server: no data is lost, no request fails, and a rollback works."""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.server.conftest import Figures
from tests.support.server.by_hand import (
    APP,
    DOMAIN,
    ROOT,
    SITE,
    UNIT,
    ByHand,
    adopted_layer,
    by_hand_layer,
    prepared_layer,
)
from tests.support.server.image import RARELY
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import BROKEN, CHECKOUT
from tests.support.server.visitors import visitors
from tests.support.server.web import ask

SYSTEMD = "/etc/systemd/system"
LAYERS: Final[Mapping[str, Callable[[Servers], Layer]]] = {
    "by hand": by_hand_layer,
    "prepared": prepared_layer,
    "adopted": adopted_layer,
}
when_the_key_is_pasted = pytest.mark.parametrize("shop", ["prepared"], indirect=True)
when_adopted = pytest.mark.parametrize("shop", ["adopted"], indirect=True)
ADOPTED = {"shop.service", "shop.socket"}
# Passes for the old process and for the interim unit, and not for the unit in the release.
ONLY_IN_THE_UNIT = f"""\
[Service]
ExecCondition=/bin/sh -c '[ ! -e {SYSTEMD}/shop.service.d/hookd.conf ] || [ %n = shop-interim.service ]'
"""


@pytest.fixture
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[ByHand]:
    """A server for one test, with a project deployed by hand."""
    with servers.start(LAYERS[getattr(request, "param", "by hand")](servers)) as machine:
        shop = ByHand(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the project")
        yield shop


@pytest.fixture(scope="module")
def refused(servers: Servers) -> Iterator[ByHand]:
    """A server for all tests that adopt nothing."""
    with servers.start(by_hand_layer(servers)) as machine:
        shop = ByHand(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the project")
        yield shop


def served_by_hand(shop: ByHand) -> bool:
    """Return True if visitors reach the old process through the old files."""
    is_old = shop.page("/where") == ROOT and shop.machine.read("/etc/nginx/sites-available/shop") == SITE
    # The units of the phases have built the first release.
    return is_old and shop.units() - {"shop-build.service", "shop-check.service"} == {"shop.service"}


@pytest.mark.threat(72, 77)
@pytest.mark.promise(42)
def test_adoption_loses_no_request(shop: ByHand, figures: Figures) -> None:
    before, everything = shop.contents(), shop.machine.files()
    plan = shop.adopt("--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert shop.machine.files() == everything
    for word in ("uploads", ".env", "shop.socket", "-upstream shop { server 127.0.0.1:8000"):
        assert word in plan.stdout

    with visitors(shop.machine, DOMAIN, per_second=50) as crowd, ThreadPoolExecutor() as slow_visitors:
        shop.prepare()
        slow = [slow_visitors.submit(ask, shop.machine, DOMAIN, "/slow") for _ in range(2)]
        shop.complete()
    assert not crowd.failures, crowd.failures[:5]
    assert crowd.pages == {"v1"}
    assert [one.result().text for one in slow] == ["slept"] * 2
    figures.note(f"adopt: {crowd.number} requests at 50/s, none failed, slowest {crowd.slowest:.2f} s")

    assert shop.contents() == before
    assert shop.units() == ADOPTED
    assert re.fullmatch(rf"{ROOT}/releases/000001-[0-9a-f]{{12}}", shop.page("/where"))
    assert shop.page("/files") == "SHOP_SECRET=canary\n"
    assert shop.page("/env") == repr({"SHOP_MOTTO": "two words", "SHOP_SECRET": "canary"})
    assert shop.page("/uploads/photo.jpg") == "photo\n"
    assert shop.page("/write") == "v1"
    assert shop.machine.read(f"{ROOT}/uploads/written") == "written"
    doctor = shop.machine.run("hookd", "doctor", check=False)
    # Warnings: no push has arrived yet, and the state of this machine's kernel.
    assert re.match(r"hookd: server: \d+ warnings?, \d+ ok\n", doctor.stdout), doctor.stdout
    assert doctor.returncode == 1


@pytest.mark.threat(72)
@when_adopted
def test_removal_restores_the_old_process(shop: ByHand) -> None:
    before = shop.contents()
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        assert shop.push("v2", {"static/style.css": "second"})["status"] == "succeeded"
        assert shop.push("v3", {"wsgi.py": BROKEN["answers 500"]})["status"] == "rolled_back"
    assert not crowd.failures, crowd.failures[:5]
    assert crowd.pages == {"v1", "v2"}
    assert shop.page("/static/style.css") == "second"
    shop.machine.reboot()
    shop.machine.wait_until(lambda: shop.page() == "v2", what="the app after a reboot")
    again = shop.adopt()
    assert again.returncode == 2
    assert "is adopted already" in again.stderr
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        shop.hookd("app", "remove", "shop", "--yes")
    assert not crowd.failures, crowd.failures[:5]
    assert served_by_hand(shop)
    assert shop.contents() == before
    assert [name for name in shop.machine.files() if name.startswith(f"{SYSTEMD}/shop")] == [f"{SYSTEMD}/shop.service"]


@pytest.mark.threat(71)
@when_adopted
def test_uninstall_restores_the_old_process(shop: ByHand) -> None:
    before = shop.contents()
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        shop.hookd("uninstall", "--yes")
    assert not crowd.failures, crowd.failures[:5]
    assert served_by_hand(shop)
    assert shop.contents() == before
    apart = (CHECKOUT, f"{ROOT}/", str(Path(RARELY).parent))
    left = {path for path in shop.machine.files() if "hookd" in path and not path.startswith(apart)}
    assert left == {"/etc/hookd", "/etc/hookd/worker.env"}  # The settings of this test stay.
    shop.machine.reboot()
    shop.machine.wait_until(lambda: shop.page() == "v1", what="the project after a reboot")


@pytest.mark.threat(72)
def test_failed_first_release_changes_nothing(shop: ByHand) -> None:
    """Import a package that only the old environment has."""
    shop.machine.shell("echo > venv/lib/python3.11/site-packages/installed_by_hand.py", directory=ROOT)
    shop.commit("v1", {"wsgi.py": "import installed_by_hand\n" + APP.replace("{version}", "v1")})
    shop.machine.shell(
        f"git config --global safe.directory '*' && git fetch -q {shop.bare} main:refs/remotes/origin/main\n"
        "git reset -q --hard origin/main && chown -R manager:www-data .git wsgi.py && systemctl restart shop.service",
        directory=ROOT,
    )
    shop.prepare()
    before = shop.contents()
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        refused = shop.adopt()
    assert refused.returncode == 2
    assert "installed_by_hand" in refused.stdout
    assert "the old process still serves" in refused.stderr
    assert not crowd.failures, crowd.failures[:5]
    assert served_by_hand(shop)
    assert shop.contents() == before


@pytest.mark.threat(72)
@when_the_key_is_pasted
def test_failed_or_killed_adoption_continues(shop: ByHand) -> None:
    """Let the unit fail, then kill the adoption twice: at its first file, and when it has replaced the old process."""
    drop_in = f"{SYSTEMD}/shop.service.d/condition.conf"
    shop.machine.write(drop_in, ONLY_IN_THE_UNIT)
    shop.machine.run("systemctl", "daemon-reload")
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        failed = shop.adopt()
        assert failed.returncode == 2
        assert "shop.service did not start" in failed.stderr
        assert served_by_hand(shop)
        shop.machine.run("rm", drop_in)
        shop.machine.run("systemctl", "daemon-reload")
        for point in ("shop.socket", "shop.service.d/hookd.conf"):
            kill_adoption(shop, f"{SYSTEMD}/{point}")
            assert shop.page() == "v1"
        shop.complete()
    assert not crowd.failures, crowd.failures[:5]
    assert shop.units() == ADOPTED


@pytest.mark.threat(72)
def test_second_run_continues_the_first(shop: ByHand) -> None:
    """The checkout is another user's, and a person edits the app's file and types the printed command."""
    shop.machine.shell("useradd --system deployer && chown -R deployer .git && chown deployer .", directory=ROOT)
    first = shop.adopt("--health", "/env", "--leave", "downloads")
    assert first.returncode == 1, f"{first.stdout}{first.stderr}"
    command = f"sudo hookd app adopt {ROOT} --health=/env --leave=downloads"
    assert command in first.stdout
    key = re.search(r"deploy key +(ssh-ed25519 \S+ .*?) +\(read only\)", first.stdout)
    assert key
    shop.host.allow_reading(key[1], "acme/shop")
    file = "/etc/hookd/apps/shop.toml"
    shop.machine.write(file, f"{shop.machine.read(file)}\n[reconcile]\nevery = 601\n")
    done = shop.machine.run(*command.split()[1:], "--yes", check=False, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    text = shop.machine.read(file)
    assert "every = 601" in text
    assert "/env" in text
    assert "downloads" not in text
    assert shop.page() == "v1"
    assert shop.units() == ADOPTED


def kill_adoption(shop: ByHand, point: str) -> None:
    """Kill an adoption when a file exists."""
    assert not shop.machine.path(point).exists()
    start = ("systemd-run", "--quiet", "--unit=adopting", "--collect")
    shop.machine.run(*start, "hookd", "app", "adopt", ROOT, "--yes")
    shop.machine.wait_until(shop.machine.path(point).exists, what=point)
    shop.machine.run("systemctl", "kill", "--signal=KILL", "adopting.service", check=False)


@when_the_key_is_pasted
def test_power_cut_during_adoption(shop: ByHand) -> None:
    shop.machine.run("systemd-run", "--quiet", "--collect", "hookd", "app", "adopt", ROOT, "--yes")
    site = "/etc/nginx/sites-available/shop"
    shop.machine.wait_until(lambda: "shop.sock" in shop.machine.read(site), what="nginx's new file")
    shop.machine.power_cut()
    shop.machine.wait_until(lambda: shop.page() == "v1", what="the project after the power cut")
    shop.adopt()
    assert shop.units() == ADOPTED


def test_project_without_nginx_is_refused(refused: ByHand) -> None:
    refused.machine.run("rm", "/etc/nginx/sites-enabled/shop")
    everything = refused.machine.files()
    done = refused.adopt()
    after = refused.machine.files()
    refused.serve(UNIT, SITE)
    assert done.returncode == 2
    assert "no nginx site passes requests to 127.0.0.1:8000" in done.stderr
    assert after == everything


def test_own_user_gets_split_policy(shop: ByHand) -> None:
    shop.machine.run("useradd", "--system", "--user-group", "shopper")
    shop.machine.shell("chown shopper:shopper .env && chmod 600 .env && chown -R shopper uploads logs", directory=ROOT)
    shop.serve(UNIT.replace("www-data", "shopper"), SITE)
    shop.prepare()
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        printed = shop.complete()
    assert not crowd.failures, crowd.failures[:5]
    assert "policy         split, group shopper" in printed
    assert shop.page("/files") == "SHOP_SECRET=canary\n"
    assert shop.page("/static/style.css") == "first"
    assert shop.push("v2", {"static/style.css": "second"})["status"] == "succeeded"
    assert shop.page("/static/style.css") == "second"
    env = shop.machine.run("stat", "-c", "%U:%G %a", f"{ROOT}/.env").stdout
    assert env == "manager:shopper 640\n"


def test_all_blockers_change_nothing(refused: ByHand) -> None:
    shop = refused
    shop.machine.shell("cp -p wsgi.py /root/; echo '# hot fix' >> wsgi.py", directory=ROOT)
    shop.machine.shell("printf 'SQLite format 3\\0' > db.sqlite3", directory=ROOT)
    unit = UNIT.replace("User=www-data\nGroup=www-data\n", "").replace("--workers", "--no-control-socket --workers")
    shop.serve(unit, SITE)
    everything = shop.machine.files()
    done = shop.adopt("--health", "/nowhere-404", "--data", "no-such-directory")
    assert done.returncode == 2
    for reason in ("wsgi.py", "db.sqlite3", "runs as root", "no-such-directory is not in"):
        assert reason in done.stderr, done.stderr
    assert shop.machine.files() == everything
    assert served_by_hand(shop)
    shop.machine.shell("mv /root/wsgi.py . && rm db.sqlite3", directory=ROOT)
    shop.serve(UNIT, SITE)


def test_changed_project_is_refused(refused: ByHand) -> None:
    machine = refused.machine
    answer = f"until test -e {ROOT}/reports.csv; do sleep 0.1; done; echo y"
    command = f"({answer}) | hookd app adopt {ROOT}"
    with ThreadPoolExecutor() as pool:
        done = pool.submit(machine.run, "sh", "-c", f"{command} > /root/output 2>&1", check=False)
        machine.wait_until(
            lambda: machine.path("/root/output").exists() and "Adopt it?" in machine.read("/root/output")
        )
        machine.write(f"{ROOT}/reports.csv", "a line\n", owner="manager:www-data")
    assert done.result().returncode == 2
    assert "changed meanwhile" in machine.read("/root/output")
    assert served_by_hand(refused)
    again = machine.run("hookd", "app", "adopt", ROOT, input="y\n", check=False)
    assert (again.returncode, "cannot be read yet" in again.stdout) == (1, True), again
