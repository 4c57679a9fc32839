"""A hostile repository runs no program but git's own."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, python
from tests.support.programs import program
from tests.support.repository import Repository

# In a process of its own, so that strace sees only what this starts.
FETCHES = """
import sys
from pathlib import Path
from tests.support.mirrors import Mirror
Mirror(Path(sys.argv[1]), sys.argv[2]).written(Path(sys.argv[1]) / sys.argv[3])
"""
HOOKS = (
    "post-checkout",
    "post-index-change",
    "reference-transaction",
    "pre-auto-gc",
    "post-merge",
    "fsmonitor-watchman",
)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a trace."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    path.chmod(0o755)
    return path


def hostile(directory: Path, trap: Path) -> Repository:
    """Build a repository with everything that could run a program."""
    repository = Repository(directory)
    bare_inside = {f"inner/{name}": text for name, text in _bare(trap).items()}
    repository.commit(
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n",
            ".gitconfig": f'[filter "evil"]\nsmudge = {trap}\n[core]\nfsmonitor = {trap}\n',
            ".gitmodules": f'[submodule "s"]\npath = s\nurl = ext::{trap}\n',
            ".lfsconfig": f"[lfs]\nurl = ext::{trap}\n",
            ".githooks/post-checkout": f"#!/bin/sh\nexec {trap}\n",
            "a.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "sitecustomize.py": f"import os; os.system({str(trap)!r})\n",
            **bare_inside,
        }
    )
    commit = repository.head()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},s")
    repository.git("commit", "-q", "-m", "a submodule")
    repository.push()
    repository.git("push", "-q", "origin", f"HEAD:refs/heads/--upload-pack={trap}", f"HEAD:refs/tags/--exec={trap}")
    return repository


def _bare(trap: Path) -> dict[str, str]:
    """Add a bare repository to a directory of the tree, with configuration that runs a program."""
    config = f"[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = {trap}\n"
    return {"HEAD": "ref: refs/heads/main\n", "config": config, "objects/x": "", "refs/x": ""}


def others(directory: Path, repository: Repository) -> tuple["subprocess.CompletedProcess[str]", list[str]]:
    """Fetch a repository, write its files, and return the ending and all programs that are not git's own."""
    trace = directory / "trace"
    watched = (
        program("strace", "strace"),
        "-f",
        "-qq",
        "-z",
        "-s",
        "4096",
        "-e",
        "trace=execve,execveat",
        "-e",
        "signal=none",
    )
    argv = [*watched, "-o", str(trace), *python("-c", FETCHES, str(directory), repository.url, "out")]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    own = ("git", "git-upload-pack", f"sh -c git-upload-pack '{repository.bare}'")
    _, *ran = (_said(line) for line in trace.read_text().splitlines())
    assert "git" in {each.split(" ")[0] for each in ran}, "strace has seen nothing"
    return done, [each for each in ran if not each.startswith(own)]


def _said(line: str) -> str:
    """Return a program and its arguments from a line of strace."""
    path, arguments = re.findall(r'execve(?:at)?\([^"]*"([^"]+)", \[(.*)\], ', line)[0]
    return " ".join([Path(path).name, *re.findall(r'"([^"]*)"', arguments)[1:]])


@pytest.mark.threat(17)
def test_hostile_repository_runs_only_git(tmp_path: Path, trap: Path) -> None:
    repository = hostile(tmp_path / "repo", trap)
    plant_in_the_mirror(tmp_path, repository, trap)
    done, ran = others(tmp_path, repository)
    assert (done.returncode, ran) == (0, []), done.stderr
    assert not (tmp_path / "sprung").exists()
    assert (tmp_path / "out" / "sitecustomize.py").exists()


@pytest.mark.threat(17)
@pytest.mark.parametrize("line", ["url = --upload-pack={trap}", "update = !{trap}", "path = -x"])
def test_hostile_submodule(tmp_path: Path, trap: Path, line: str) -> None:
    repository = Repository(tmp_path / "repo")
    module = f'[submodule "s"]\npath = s\nurl = https://git.example.org/s\n{line.format(trap=trap)}\n'
    repository.commit_and_push({"app.py": "x", ".gitmodules": module})
    done, ran = others(tmp_path, repository)
    assert (done.returncode, ran) == (1, [])
    assert "cannot be fetched" in done.stderr
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()


def plant_in_the_mirror(directory: Path, repository: Repository, trap: Path) -> None:
    """Fetch once, leave hooks where git would look for them, and push again."""
    subprocess.run(python("-c", FETCHES, str(directory), repository.url, "before"), cwd=PROJECT, check=True)
    (mirror,) = (directory / "state" / "mirrors").iterdir()
    (mirror / "hooks").mkdir(exist_ok=True)
    for name in HOOKS:
        (mirror / "hooks" / name).symlink_to(trap)
    repository.commit_and_push({"newer.py": "x"})
