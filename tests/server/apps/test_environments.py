"""Environments on a server: links to the one before, private packages by ssh, and gunicorn."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

_VENV: Final = "$(readlink -f /srv/shop/current/venv)"
# A build that tries to change what its environment shares with the one that serves.
_HARMFUL: Final = """\
import glob, os
from setuptools import setup
tried = worked = 0
for path in glob.glob("/srv/shop/venvs/*/lib/python3*/site-packages/gunicorn/*.py"):
    for harm in (lambda: open(path, "a").write("EVIL"), lambda: os.chmod(path, 0o777), lambda: os.truncate(path, 0)):
        tried += 1
        try:
            harm()
            worked += 1
        except OSError:
            pass
for place in ("/var/lib/hookd", "/etc/hookd"):
    try:
        worked += 1000 * len(os.listdir(place))
    except OSError:
        pass
with open("harm_report.py", "w") as report:
    print("TRIED, WORKED, KEYS =", tried > 20, worked, glob.glob("/tmp/hookd-*"), file=report)
setup(name="harmful", version="1.0", py_modules=["harm_report"])
"""
_LIBRARY: Final = {"pyproject.toml": '[project]\nname = "private"\nversion = "1.0"\n', "private/__init__.py": ""}


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with two apps."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        yield Shop(machine)


def push(shop: Shop, version: str, requirements: str, **files: str) -> tuple[str, str]:
    """Deploy a commit and return its status and its log."""
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    record = shop.push(version, {"requirements.txt": requirements, **named})
    return record["status"], shop.hookd("logs", record["id"])


def test_difference_is_linked(shop: Shop) -> None:
    status, log = push(shop, "linked", "gunicorn\npackaging\n")
    assert status == "succeeded", log
    shared = f"find {_VENV}/lib -name '*.py' -path '*/gunicorn/*' -links +1"
    assert shop.machine.shell(shared).split()
    assert shop.machine.shell(f"find {_VENV} ! -user manager -o -type f -perm /222").split() == []
    assert shop.page() == "linked"


@pytest.mark.threat(95)
def test_build_changes_no_shared_file(shop: Shop) -> None:
    """The package of a push fails to change the files of the environment that serves."""
    content = "find lib -type f -print0 | sort -z | xargs -0 sha256sum"
    sums = f"cd {_VENV} && {content} && find . -type f -printf '%m %u %p\\n' | sort"
    serving = shop.machine.shell("readlink -f /srv/shop/current/venv").strip()
    before = shop.machine.shell(sums.replace(_VENV, serving))
    status, log = push(shop, "harmful", "gunicorn\npackaging\n-e .\n", setup_py=_HARMFUL)
    assert status == "succeeded", log
    report = shop.machine.shell(f"cat {_VENV}/lib/python3*/site-packages/harm_report.py")
    assert report == "TRIED, WORKED, KEYS = True 0 []\n"
    assert shop.machine.shell(sums.replace(_VENV, serving)) == before


@pytest.mark.threat(95)
def test_private_package_with_the_own_key(shop: Shop) -> None:
    """The app's key opens its repository for the installation, and no other one."""
    repository = shop.repository
    repository.git("checkout", "-q", "--orphan", "lib")
    repository.git("rm", "-rfq", ".")
    repository.commit(_LIBRARY, "a library")
    repository.git("push", "-q", "origin", "lib")
    repository.git("checkout", "-qf", "main")
    own = "private @ git+ssh://git@git.example.org/acme/shop.git@lib\n"
    status, log = push(shop, "private", f"gunicorn\n{own}")
    assert status == "succeeded", log
    assert shop.machine.shell(f"ls -d {_VENV}/lib/python3*/site-packages/private").strip()
    status, log = push(shop, "other", "gunicorn\nother @ git+ssh://git@git.example.org/acme/blog.git@main\n")
    assert status == "failed"
    assert "this key may only read acme/shop" in log
    assert "PRIVATE KEY" not in log


def test_gunicorn_is_added(shop: Shop) -> None:
    status, log = push(shop, "plain", "packaging\n")
    assert status == "succeeded", log
    assert "hookd adds gunicorn==" in log
    assert shop.page() == "plain"
