"""A real repository is read as it is: no configuration of it runs, and nothing of it is followed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hookd.model.plan import Plan
from tests.support.processes import PROJECT
from tests.support.repository import Repository
from units.finders.repository.tree import MAX_BYTES, Unreadable, open_tree

FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.parametrize("name", ["bare", "work"])
def test_files_of_a_commit_are_read(repository: Repository, name: str) -> None:
    commit = repository.commit({"b/ü.txt": "ü\n", "a.txt": "\ufeffa".encode("utf-16"), "c.txt": "old"})
    repository.push()
    (repository.work / "c.txt").write_text("not in the commit")
    with open_tree(getattr(repository, name), commit) as tree:
        assert tree.date is not None
        assert tree.paths == ("a.txt", "b/ü.txt", "c.txt")
        assert [tree.read(path) for path in ("b/ü.txt", "c.txt", "none")] == ["ü\n", "old", None]


def test_unusual_entries_are_left_out(repository: Repository) -> None:
    inner = Repository(repository.bare.parent / "inner")
    inner.commit({"x": "x"})
    repository.commit({"large": "a" * (MAX_BYTES + 1), "binary": b"a\0b", "latin": "é".encode("latin-1"), "n\nl": "x"})
    (repository.work / "link").symlink_to("/etc/passwd")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.work), "module")
    with open_tree(repository.work, repository.commit_all()) as tree:
        assert tree.paths == (".gitmodules", "binary", "large", "latin")
        assert [tree.read(path) for path in ("binary", "large", "latin", "link", "module")] == [None] * 5


@pytest.mark.parametrize("commit", ["0" * 40, "main:a", "--output=/tmp/x", "", "HEAD..HEAD"])
def test_wrong_commits_are_refused(repository: Repository, commit: str) -> None:
    repository.commit({"a": "a"})
    with pytest.raises(Unreadable), open_tree(repository.work, commit):
        pass


def test_missing_objects_are_not_fetched(repository: Repository, tmp_path: Path) -> None:
    """A promisor remote with a program as its address would run it."""
    commit = repository.commit({"app.py": FLASK})
    blob = repository.git("rev-parse", "HEAD:app.py").strip()
    (repository.work / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    trap = tmp_path / "ran"
    for key, value in (
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::touch {trap}"),
        ("protocol.ext.allow", "always"),
    ):
        repository.git("config", key, value)
    with open_tree(repository.work, commit) as tree:
        assert tree.read("app.py") is None
    assert not trap.exists()


def test_plan_is_printed_as_json(repository: Repository) -> None:
    """The program runs from any directory, and imports nothing of the repository."""
    commit = repository.commit({"app.py": f"{FLASK}raise SystemExit\n", "flask.py": "raise SystemExit\n"})
    done = _find(repository.work, commit)
    plan = Plan.from_json(done.stdout)
    assert (done.returncode, plan.kind, plan.findings[0].value) == (0, "flask", "app:app")
    assert _find(repository.work, "0" * 40).returncode == 1
    assert json.loads(_find(repository.work, commit, "none").stdout)["kind"] == "unknown"


def _find(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-P", "-m", "units.finders", str(repository), *arguments)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        argv, cwd=repository, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
