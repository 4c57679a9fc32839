"""Project files of a commit that would take too much time, memory or stack to read."""

import tomllib
from pathlib import Path

import pytest

from worker.environment.project import read_toml
from worker.errors import CommitRefused

LONG = ".".join(["a"] * 60)


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 5000}{']' * 5000}",
        f"a = {'{b = ' * 5000}1{'}' * 5000}",
        f"x = 1\n {LONG} = 1",
        f"[{LONG}]\nx = 1",
        f"[[ {LONG} ]]",
        " . ".join(['"=\\""', "'b'"] * 30) + " = 1",
        "#" * (4 * 1024 * 1024 + 1),
    ],
)
def test_excessive_project_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(CommitRefused, match="pyproject"):
        read_toml(tmp_path / "pyproject.toml")


def test_dots_outside_of_keys(tmp_path: Path) -> None:
    text = f'a.b.c = "{LONG}"\nd = """\nContents {"." * 80} 1\n"""\ne = [{"1.5, " * 80}]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_toml(tmp_path / "pyproject.toml") == tomllib.loads(text)
