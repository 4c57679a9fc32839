"""Rules about the source that neither ruff nor import-linter (pyproject.toml) can hold."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, python

DIGEST = re.compile(r"(?i)digest|signature|hmac|\bmac\b|token")
FILES = [file for room in ("hookd", "worker", "units") for file in sorted((PROJECT / room).rglob("*.py"))]


def test_server_code_is_imported_lazily() -> None:
    held = "[name for name in sys.modules if name.startswith(('units', 'worker'))]"
    code = f"import sys, hookd.cli, hookd.receiver.server; print({held})"
    done = subprocess.run(python("-c", code), cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["units.cli.app.add", "units.cli.up", "units.adopt.decide"])
def test_commands_load_no_finder(module: str) -> None:
    """The finders read a stranger's text, and run in a process without rights."""
    held = "[name for name in sys.modules if name.startswith('units.finders')]"
    done = subprocess.run(
        python("-c", f"import sys, {module}; print({held})"), cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.threat(3)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PROJECT).as_posix())
def test_secrets_are_compared_in_constant_time(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [side for side in (node.left, *node.comparators) if not is_public(side)]
            assert len(sides) < 2 or not DIGEST.search(ast.unparse(node)), ast.unparse(node)


def is_public(side: ast.expr) -> bool:
    """Return True for a constant or a length, which hold no secret."""
    return isinstance(side, ast.Constant) or (isinstance(side, ast.Call) and ast.unparse(side.func) == "len")


def test_mirror_starts_git_by_gitpython() -> None:
    tree = ast.parse((PROJECT / "worker" / "release" / "git_mirror.py").read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not [call for call in calls if call.startswith("subprocess.") or call in ("run", "lines_of")]
    assert [call for call in calls if call.startswith("git.")]


@pytest.mark.parametrize(
    "module",
    ["hookd.files.build_owner", "worker.phase.build_program"],
)
def test_builds_start_without_large_modules(module: str) -> None:
    code = f"import sys; sys.path[:0] = [{str(PROJECT)!r}]; import {module}; print(*sys.modules)"
    done = subprocess.run(python("-I", "-S", "-c", code), capture_output=True, text=True, check=True)
    assert not {"dataclasses", "datetime", "pathlib", "typing"} & set(done.stdout.split())
