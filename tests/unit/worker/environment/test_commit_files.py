"""Files of a commit that lead out of it, or would take too much time, memory or stack to read."""

import os
import tomllib
from pathlib import Path

import pytest

from hookd.model.tables.build import Dependencies
from tests.support.releases import release
from worker.environment.commit_files import CommitFiles
from worker.environment.source import read_source
from worker.errors import CommitRefused, DeployError

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
        CommitFiles(tmp_path).toml(tmp_path / "pyproject.toml")


def test_dots_outside_of_keys(tmp_path: Path) -> None:
    text = f'a.b.c = "{LONG}"\nd = """\nContents {"." * 80} 1\n"""\ne = [{"1.5, " * 80}]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert CommitFiles(tmp_path).toml(tmp_path / "pyproject.toml") == tomllib.loads(text)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Make a release with a shared directory, in which the app has a link to a secret of the worker."""
    release(tmp_path, {"secret": "hunter2", "shared/x": "", "top/wheels/x.whl": "", "top/member/x": ""})
    (tmp_path / "shared" / "secret").symlink_to("../secret")
    (tmp_path / "top" / "uploads").symlink_to(tmp_path / "shared")
    return tmp_path / "top"


LOCK = "[[package]]\nsource = { virtual = 'member' }\n"
PROJECT = {"pyproject.toml": "[project]\n"}


@pytest.mark.threat(18)
@pytest.mark.parametrize(
    ("name", "others"),
    [
        (".python-version", {}),
        ("runtime.txt", {}),
        ("requirements.txt", {}),
        *((name, PROJECT) for name in ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock")),
        ("pyproject.toml", {}),
        ("pyproject.toml", {"requirements.txt": ""}),
        ("uv.toml", {"requirements.txt": ""}),
        ("other.txt", {"requirements.txt": "-r other.txt"}),
        ("wheels/y.whl", {"requirements.txt": "--find-links wheels"}),
        ("member/pyproject.toml", {**PROJECT, "uv.lock": LOCK}),
        ("Pipfile", {}),
    ],
)
def test_links_through_shared_data(shared: Path, name: str, others: dict[str, str]) -> None:
    release(shared, others)
    (shared / name).symlink_to(shared / "uploads" / "secret")
    with pytest.raises(CommitRefused, match="not in the commit") as caught:
        read_source(shared, shared, Dependencies())
    assert "hunter2" not in caught.value.cause


def test_names_of_shared_data_stay_unread(shared: Path) -> None:
    release(shared, {"../shared/prod.txt": "", "../shared/__init__.py": "", "setup.py": ""})
    for name in ("requirements", "src"):
        (shared / name).symlink_to(shared / "uploads")
    with pytest.raises(CommitRefused, match="not in the commit"):
        read_source(shared, shared, Dependencies())
    (shared / "src").unlink()
    (shared / "setup.py").unlink()
    assert read_source(shared, shared, Dependencies()).kind == "none"


@pytest.mark.threat(18)
def test_link_that_appears_later(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app may write into its release while the worker reads there."""

    def swap(_: Path) -> bool:
        (shared / "member").rename(shared / "before")
        (shared / "member").symlink_to(shared / "uploads")
        return True

    monkeypatch.setattr(os.path, "isfile", swap)
    with pytest.raises(CommitRefused, match="no file of the commit"):
        CommitFiles(shared).read(shared / "member" / "x")


def test_links_inside_the_release(shared: Path) -> None:
    release(shared, {"lists/web.txt": "flask"})
    (shared / "requirements.txt").symlink_to("lists/web.txt")
    assert read_source(shared, shared, Dependencies()).packages.lines == ["flask"]


def test_fault_of_the_host(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(DeployError, match="Input/output error") as caught:
        CommitFiles(shared).read(shared / "wheels" / "x.whl")
    assert not isinstance(caught.value, CommitRefused)


@pytest.mark.threat(60)
def test_all_files_have_one_limit(tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(3)]
    files = CommitFiles(release(tmp_path, dict.fromkeys(names, "#" * (4 * 1024 * 1024))))
    for name in names[:-1] * 2:
        files.read(tmp_path / name)
    with pytest.raises(CommitRefused, match="exceed 8 MiB"):
        files.read(tmp_path / names[-1])


@pytest.mark.parametrize("text", ["x" * 1_500_000, "3.12\x1b[2J", "a b"])
def test_version_that_is_none_is_cut(tmp_path: Path, text: str) -> None:
    [wanted] = read_source(release(tmp_path, {".python-version": text}), tmp_path, Dependencies()).wanted
    assert len(wanted.spec) <= 40
    assert not set(wanted.spec) & set(" [\x1b")
