"""The versions of Python that a commit asks for."""

from pathlib import Path

import pytest

from tests.support.releases import release
from worker.environment.commit_files import CommitFiles
from worker.environment.python import from_project, from_version_files


@pytest.mark.parametrize(
    ("name", "text", "spec", "is_pinned"),
    [
        (".python-version", "3.12\n", "==3.12.*", True),
        (".python-version", "# mine\n3.12.4\n3.11\n", "==3.12.*", True),
        (".python-version", "cpython@3.13", "==3.13.*", True),
        (".python-version", ">=3.11,<3.13", ">=3.11,<3.13", False),
        (".python-version", "pypy3.10", "pypy3.10", True),
        ("runtime.txt", "python-3.9.18", "==3.9.*", True),
    ],
)
def test_version_files(tmp_path: Path, name: str, text: str, spec: str, is_pinned: bool) -> None:
    release(tmp_path, {name: text})
    [found] = from_version_files(CommitFiles(tmp_path), [tmp_path / "none", tmp_path])
    assert (found.spec, found.place, found.is_pinned) == (spec, name, is_pinned)


def test_both_tables_of_a_project() -> None:
    project = {"project": {"requires-python": ">=3.9"}, "tool": {"poetry": {"dependencies": {"python": "^3.11"}}}}
    assert [wanted.spec for wanted in from_project(project)] == [">=3.9", ">=3.11,<4"]
