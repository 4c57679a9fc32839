"""Pipfile.lock and pdm.lock as lists for uv."""

from pathlib import Path

import pytest

from tests.support.releases import release
from worker.environment.commit_files import CommitFiles
from worker.environment.locks import is_local_lock, read_pdm_lock, read_pipfile_lock
from worker.errors import CommitRefused

PIPFILE_LOCK = """{
 "_meta": {"sources": [{"url": "https://a/simple"}, {"url": "https://b/simple"}]},
 "default": {
  "flask": {"version": "==3.1.0", "hashes": ["sha256:00", "sha256:11"], "markers": "python_version >= '3.9'"},
  "rq": {"version": "==2.0", "extras": ["x", "y"]},
  "own": {"git": "https://host/own.git", "ref": "abc"},
  "core": {"path": "./core", "editable": true}},
 "develop": {"pytest": {"version": "==9"}},
 "prod": {"gevent": {"version": "==25"}, "rq": {"version": "==2.0", "extras": ["x", "y"]}}}"""


def test_pipfile_lock(tmp_path: Path) -> None:
    path = release(tmp_path, {"Pipfile.lock": PIPFILE_LOCK}) / "Pipfile.lock"
    lines = [
        "--index-url https://a/simple",
        "--extra-index-url https://b/simple",
        f"core @ file://{tmp_path}/core",
        "flask==3.1.0 ; python_version >= '3.9' --hash=sha256:00 --hash=sha256:11",
        "own @ git+https://host/own.git@abc",
        "rq[x,y]==2.0",
    ]
    assert read_pipfile_lock(CommitFiles(tmp_path), path, ()) == lines
    assert read_pipfile_lock(CommitFiles(tmp_path), path, ("prod",)) == [*lines, "gevent==25"]
    with pytest.raises(CommitRefused, match="has no packages of the group web"):
        read_pipfile_lock(CommitFiles(tmp_path), path, ("web",))


PDM_LOCK = """
[metadata]
strategy = ["inherit_metadata"]
[[package]]
name = "flask"
version = "3.1.0"
groups = ["default", "web"]
marker = "python_version >= '3.9'"
files = [{file = "a", hash = "sha256:00"}, {file = "b", hash = "sha256:11"}]
[[package]]
name = "gevent"
version = "25"
groups = ["web"]
extras = ["x"]
[[package]]
name = "own"
git = "https://host/own.git"
revision = "abc"
groups = ["default"]
[[package]]
name = "core"
path = "./core"
groups = ["default"]
[[package]]
name = "far"
url = "https://host/far.whl"
groups = ["default"]
[[package]]
name = "pytest"
version = "9"
groups = ["dev"]
"""


def test_pdm_lock(tmp_path: Path) -> None:
    path = release(tmp_path, {"pdm.lock": PDM_LOCK}) / "pdm.lock"
    default = [
        "flask==3.1.0 ; python_version >= '3.9' --hash=sha256:00 --hash=sha256:11",
        "own @ git+https://host/own.git@abc",
        f"core @ file://{tmp_path}/core",
        "far @ https://host/far.whl",
    ]
    assert read_pdm_lock(CommitFiles(tmp_path), path, ()) == default
    assert read_pdm_lock(CommitFiles(tmp_path), path, ("web",)) == [default[0], "gevent[x]==25", *default[1:]]


@pytest.mark.parametrize("package", ["name = 'x'\ngroups = ['default']", "groups = ['default']"])
def test_pdm_lock_without_version(tmp_path: Path, package: str) -> None:
    text = f"[metadata]\nstrategy = ['inherit_metadata']\n[[package]]\n{package}\n"
    with pytest.raises(CommitRefused, match="names no version"):
        read_pdm_lock(CommitFiles(tmp_path), release(tmp_path, {"pdm.lock": text}) / "pdm.lock", ())


@pytest.mark.parametrize(
    ("source", "is_local"),
    [
        ("package]]\nsource = { editable = '.' }", True),
        ("package]]\nsource = { directory = 'core' }", True),
        ("package]]\nsource = { virtual = '.' }", False),
        ("package]]\nsource = { registry = 'https://a' }", False),
        ("package]]\n[package.source]\ntype = 'directory'", True),
        ("package]]\n[package.source]\ntype = 'git'", False),
        ("packages]]\ndirectory = { path = '.' }", True),
        ("packages]]\narchive = { path = 'x.whl' }", True),
        ("packages]]\narchive = { url = 'https://a/x.whl' }", False),
    ],
)
def test_packages_of_the_commit(tmp_path: Path, source: str, is_local: bool) -> None:
    path = release(tmp_path, {"x.lock": f"[[{source}\n"}) / "x.lock"
    assert is_local_lock(CommitFiles(tmp_path), path) is is_local
