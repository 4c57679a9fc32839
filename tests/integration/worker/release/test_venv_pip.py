"""Environments made by Python's own venv and pip, for a host without uv."""

from pathlib import Path

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.environments import Installer, installed
from tests.support.wheels import hash_of, make_sdist, make_wheel
from worker.errors import CommandFailed, CommitRefused, DeployError


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    monkeypatch.setattr("worker.release.venv.find_uv", lambda _task: None)
    made = Installer(tmp_path)
    make_wheel(made.wheels, "alpha")
    make_wheel(made.wheels, "beta", requires=["alpha>=1"])
    return made


def test_plain_requirements_and_a_project_bring_what_they_need(at: Installer) -> None:
    everything = {"alpha": "1.0", "beta": "1.0"}
    assert installed(at.install({"requirements.txt": "beta\n"})) == everything
    assert installed(at.install({"pyproject.toml": "[project]\nname = 'x'\ndependencies = ['beta']\n"})) == everything


def test_hashes_are_checked(at: Installer) -> None:
    wheel = at.wheels / "alpha-1.0-py3-none-any.whl"
    text = f"alpha==1.0 --hash={hash_of(wheel)}\n"
    assert installed(at.install({"requirements.txt": text})) == {"alpha": "1.0"}
    make_wheel(at.wheels, "alpha", code="EVIL = True\n")
    with pytest.raises(CommandFailed, match="cannot be installed"):
        at.install({"requirements.txt": f"{text}\n"})
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in at.log


def test_a_package_without_a_wheel_is_refused_and_the_way_out_works(at: Installer) -> None:
    trace = at.directory / "built"
    make_sdist(at.wheels, "gamma", trace)
    with pytest.raises(CommandFailed, match="No matching distribution found for gamma") as caught:
        at.install({"requirements.txt": "gamma\n"})
    assert caught.value.hint == Hint(HintKind.ALLOW_BUILD)
    assert not trace.exists()
    assert installed(at.install({"requirements.txt": "gamma\n"}, allow_build=True)) == {"gamma": "1.0"}


@pytest.mark.threat(75)
def test_no_line_makes_pip_run_build_code_of_the_commit(at: Installer) -> None:
    for line in ("-e./pkg", "pkg/", "pkg @ file:./pkg", "--no-binary gamma"):
        with pytest.raises(CommitRefused):
            at.install({"requirements.txt": line})
    assert list((at.directory / "shop" / "venvs").iterdir()) == []


def test_a_lock_of_uv_s_needs_uv(at: Installer) -> None:
    files = {"uv.lock": "version = 1\n", "pyproject.toml": "[project]\nname = 'x'\n"}
    with pytest.raises(DeployError, match=r"uv\.lock needs uv, which is not installed"):
        at.install(files)
