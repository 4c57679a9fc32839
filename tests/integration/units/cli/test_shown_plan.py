"""`hookd up` prints a plan of docs/apps.md, and a site follows from it."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support import app_plans
from tests.support.processes import free_port
from tests.support.repository import Repository
from tests.support.typed import typed_at_home

KIND = "flask"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path, because a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="plan-") as directory:
        yield Path(directory)
        hookd(Path(directory), "down", "blog", "--purge", "--yes")


def hookd(home: Path, *arguments: str) -> str:
    """Type a command in a home, and return what it prints."""
    done = typed_at_home(home, *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_shown_plan_goes_live(home: Path) -> None:
    """The factory starts with a random secret, and its migration made the shared database."""
    repository, port = Repository(home / "git"), free_port()
    repository.commit_and_push(app_plans.files_of(KIND))
    printed = hookd(home, "up", "--repo", repository.url, "--name", "blog", "--port", str(port), "--yes")
    plan = re.split(r"^Found in .+\n", printed, flags=re.MULTILINE)[1]
    assert plan.partition("\n\n")[0].splitlines() == app_plans.plan_lines(KIND)
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert answer.read().strip() == b'{"posts":[]}'
    assert (home / ".hookd/blog/app/shared/instance/blog.db").exists()
