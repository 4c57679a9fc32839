"""The README's "On a server": its commands run as written on a fresh Debian."""

import re

import pytest

from tests.server.conftest import Figures
from tests.support.processes import PROJECT
from tests.support.server.machine import Machine
from tests.support.server.shop import CHECKOUT, RECEIVER_DOMAIN, Shop
from tests.support.server.sshgit import git_host
from tests.support.server.visitors import visitors
from tests.support.server.web import ask

README = (PROJECT / "README.md").read_text()
COMMANDS = (PROJECT / "docs" / "commands.md").read_text()
SECTION = re.search(r"^## On a server\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)


def blocks() -> list[str]:
    """Return the section's blocks of commands."""
    assert SECTION
    return re.findall(r"```sh\n(.*?)```", SECTION[1], re.DOTALL)


@pytest.fixture(scope="module")
def server(fresh_server: Machine) -> Machine:
    """A fresh Debian with a clone of hookd, and a git host with a repository."""
    fresh_server.copy_checkout(CHECKOUT)
    git_host(fresh_server)
    settings = "".join(f"{name}={value}\n" for name, value in fresh_server.settings.items())
    fresh_server.write("/etc/hookd/worker.env", settings, 0o600)  # The proxy of this host.
    return fresh_server


@pytest.fixture(scope="module")
def shop(server: Machine) -> Shop:
    """The app that the README adds."""
    return Shop(server)


def test_section_has_four_blocks() -> None:
    assert len(blocks()) == 4


@pytest.mark.promise(36)
def test_fresh_host_deploys_a_push(server: Machine, shop: Shop, figures: Figures) -> None:
    shop.commit("v1")
    install, add, status, doctor = blocks()
    server.shell(install, directory=CHECKOUT)
    asked = server.run("bash", "-c", add, check=False, directory=CHECKOUT)
    shop.paste_key(asked.stdout)
    printed = server.shell(add, directory=CHECKOUT)
    assert "wsgi:app" in printed
    assert f"http://{RECEIVER_DOMAIN}/hooks/shop" in printed
    assert shop.secret in printed
    assert shop.hookd("secret", "show", "shop") == f"{shop.secret}\n"
    assert "succeeded" in server.shell(status, directory=CHECKOUT)
    assert shop.page() == "v1"
    record = shop.push("v2")
    assert record["status"] == "succeeded"
    assert shop.page() == "v2"
    seconds = sum(step["seconds"] for step in record["steps"])
    figures.note(f"README's server: a push is live and healthy {seconds:.1f} s after its start")
    report = server.run("bash", "-c", doctor, check=False, directory=CHECKOUT)
    assert re.match(r"hookd: server: (\d+ warnings?, )?\d+ ok\n", report.stdout), report.stdout
    # hookd cannot repair the machine under the server.
    kernels = ("clock is not set by the network", "fs.protected_", "the kernel does not limit apps")
    warnings = [line for line in report.stdout.splitlines() if line.startswith("warning")]
    assert [line for line in warnings if not any(one in line for one in kernels)] == []
    assert report.returncode == (1 if warnings else 0)


@pytest.mark.promise(35)
def test_setup_names_the_next_command(server: Machine) -> None:
    assert "nothing to change" in server.shell("sudo hookd setup", directory=CHECKOUT)
    assert "sudo hookd app add" in server.shell("sudo hookd setup", directory=CHECKOUT)


@pytest.mark.promise(61)
def test_status_needs_the_token(server: Machine) -> None:
    assert ask(server, RECEIVER_DOMAIN, "/apps").status == 401
    token = server.read("/etc/hookd/token").strip()
    answer = ask(server, RECEIVER_DOMAIN, "/apps/shop", headers={"Authorization": f"Bearer {token}"})
    assert answer.json["deployments"][0]["status"] == "succeeded"
    log = answer.json["deployments"][0]["log_url"].removeprefix(f"http://{RECEIVER_DOMAIN}")
    text = ask(server, RECEIVER_DOMAIN, log, headers={"Authorization": f"Bearer {token}"}).text
    assert "systemctl" in text


@pytest.mark.promise(59)
def test_replay_with_rq(server: Machine, shop: Shop) -> None:
    deployment = shop.status()["deployments"][0]["id"]
    (line,) = re.findall(r"^sudo .* rq enqueue .*$", COMMANDS, re.MULTILINE)
    server.shell(line.replace("ID", deployment))
    server.wait_until(lambda: shop.status()["deployments"][0]["replay_of"] == deployment, 60, "the replay")


@pytest.mark.threat(45, 78)
def test_repeated_setup_loses_no_request(server: Machine, shop: Shop) -> None:
    with visitors(server, shop.domain, per_second=50) as crowd:
        server.shell("sudo ./run install && sudo hookd setup", directory=CHECKOUT)
    assert not crowd.failures, crowd.failures[:5]
