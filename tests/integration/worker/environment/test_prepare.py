"""Environments made by uv from real packages: content, rejections and reuse."""

import os
import subprocess
from pathlib import Path

import pytest

from hookd.files.build_owner import COMPLETE_MARK
from hookd.model.hint import Hint, HintKind
from tests.support.environments import Installer, installed
from tests.support.tasks import deploying
from tests.support.wheels import hash_of, make_sdist, make_wheel
from worker.errors import CommandFailed, DeployError
from worker.environment.prepare import find_uv, mark_complete


@pytest.fixture
def at(tmp_path: Path) -> Installer:
    made = Installer(tmp_path)
    make_wheel(made.wheels, "alpha")
    make_wheel(made.wheels, "beta", requires=["alpha>=1"])
    return made


def test_plain_requirements(at: Installer) -> None:
    assert installed(at.install({"requirements.txt": "beta\n"})) == {"alpha": "1.0", "beta": "1.0"}


def test_no_requirements(at: Installer) -> None:
    assert installed(at.install({"app.py": ""})) == {}


def hashed(at: Installer, name: str) -> str:
    return f"{name}==1.0 --hash={hash_of(at.wheels / f'{name}-1.0-py3-none-any.whl')}\n"


@pytest.mark.promise(65)
def test_hashed_requirements(at: Installer) -> None:
    assert installed(at.install({"requirements.txt": hashed(at, "beta")})) == {"beta": "1.0"}


@pytest.mark.threat(75)
def test_wrong_hash(at: Installer) -> None:
    """The package is rejected."""
    text = hashed(at, "alpha")
    make_wheel(at.wheels, "alpha", code="EVIL = True\n")
    with pytest.raises(CommandFailed, match=r"requirements\.txt cannot be installed: .*[Hh]ash"):
        at.install({"requirements.txt": text})


def test_missing_hash(at: Installer) -> None:
    with pytest.raises(CommandFailed, match=r"cannot be installed: .*must have a hash"):
        at.install({"requirements.txt": hashed(at, "alpha") + "beta==1.0\n"})


PROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["{needs}"]\n'


def locked(at: Installer, needs: str) -> dict[str, str]:
    """Return a project and its lock."""
    directory = at.directory / "developer"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(PROJECT.format(needs=needs))
    with deploying(at.directory) as task:
        uv = find_uv(task.task)
    env = {**os.environ, **at.variables, "UV_CACHE_DIR": str(at.directory / "cache")}
    subprocess.run([uv, "--quiet", "lock"], cwd=directory, env=env, check=True)
    return {name: (directory / name).read_text() for name in ("pyproject.toml", "uv.lock")}


@pytest.mark.promise(65)
def test_lock_versions(at: Installer) -> None:
    """The lock's versions are installed, but not the project."""
    files = locked(at, "beta")
    make_wheel(at.wheels, "alpha", "2.0")
    assert installed(at.install(files)) == {"alpha": "1.0", "beta": "1.0"}


def test_lock_in_subdirectory(at: Installer) -> None:
    files = {f"backend/{name}": text for name, text in locked(at, "alpha").items()}
    assert installed(at.install(files, file="backend/uv.lock")) == {"alpha": "1.0"}


def test_outdated_lock(at: Installer) -> None:
    files = locked(at, "alpha")
    with pytest.raises(CommandFailed, match=r"uv\.lock cannot be installed: .*needs to be updated"):
        at.install({**files, "pyproject.toml": PROJECT.format(needs="beta")})


@pytest.mark.promise(65)
def test_project_dependencies(at: Installer) -> None:
    assert installed(at.install({"pyproject.toml": PROJECT.format(needs="beta")})) == {"alpha": "1.0", "beta": "1.0"}


@pytest.mark.threat(33)
def test_unresolvable_requirements(at: Installer) -> None:
    make_wheel(at.wheels, "needy", requires=["nowhere>=2"])
    with pytest.raises(CommandFailed) as caught:
        at.install({"requirements.txt": "needy\n"})
    cause = caught.value.cause
    assert cause.startswith("the dependencies of requirements.txt cannot be installed: No solution found")
    assert "nowhere" in cause
    assert "\n" not in cause


@pytest.mark.threat(75)
def test_package_without_wheel(at: Installer) -> None:
    trace = at.directory / "built"
    make_sdist(at.wheels, "gamma", trace)
    with pytest.raises(CommandFailed, match=r"gamma==1\.0 has no usable wheels") as caught:
        at.install({"requirements.txt": "gamma\n"}, allow_build=False)
    assert caught.value.hint == Hint(HintKind.ALLOW_BUILD)
    assert not trace.exists()


def test_package_is_built_by_default(at: Installer) -> None:
    trace = at.directory / "built"
    make_sdist(at.wheels, "gamma", trace)
    assert installed(at.install({"requirements.txt": "gamma\n"})) == {"gamma": "1.0"}
    assert trace.exists()


@pytest.mark.threat(75)
def test_cache_is_per_app(at: Installer) -> None:
    """A package that one app built does not reach another."""
    trace = at.directory / "built"
    make_sdist(at.wheels, "gamma", trace)
    for app in ("shop", "blog"):
        at.install({"requirements.txt": "gamma\n"}, name=app)
        assert trace.read_text() == "the build code ran"
        trace.unlink()


def test_venv_is_reused(at: Installer) -> None:
    first = at.install({"requirements.txt": "alpha\n", "app.py": "1"})
    (first / "marker").touch()
    assert at.install({"requirements.txt": "alpha\n", "app.py": "2"}) == first
    assert (first / "marker").exists()
    assert f"the environment {first.name} fits and is used again" in at.log


def test_other_content_other_venv(at: Installer) -> None:
    first = at.install({"requirements.txt": "alpha\n"})
    make_wheel(at.wheels, "alpha", "2.0")
    second = at.install({"requirements.txt": "alpha==2.0\n"})
    assert (installed(first), installed(second)) == ({"alpha": "1.0"}, {"alpha": "2.0"})


def test_changed_include_other_venv(at: Installer) -> None:
    first = at.install({"requirements.txt": "-r base.txt\n", "base.txt": "alpha\n"})
    second = at.install({"requirements.txt": "-r base.txt\n", "base.txt": "beta\n"})
    assert first != second
    assert "beta" in installed(second)


@pytest.mark.threat(33, 50)
def test_incomplete_venv_is_rebuilt(at: Installer) -> None:
    files = {"requirements.txt": "alpha\n"}
    first = at.install(files)
    (first / ".hookd-complete").unlink()
    (first / "half").touch()
    assert at.install(files) == first
    assert not (first / "half").exists()
    assert installed(first) == {"alpha": "1.0"}


@pytest.mark.threat(30)
def test_failed_install_is_incomplete(at: Installer) -> None:
    with pytest.raises(CommandFailed):
        at.install({"requirements.txt": "delta\n"})
    make_wheel(at.wheels, "delta")
    assert installed(at.install({"requirements.txt": "delta\n"})) == {"delta": "1.0"}


@pytest.mark.threat(30)
def test_full_disk_leaves_incomplete_venv(at: Installer) -> None:
    """Python leaves a truncated .pyc file without an error."""
    files = {"requirements.txt": "alpha\n"}
    at.limits = {"free_mib": 1 << 40}
    with pytest.raises(DeployError, match="MiB free"):
        at.install(files)
    at.limits = {}
    assert installed(at.install(files)) == {"alpha": "1.0"}
    assert "is used again" not in at.log


@pytest.mark.threat(27)
def test_no_hard_links_to_cache(at: Installer) -> None:
    venv = at.install({"requirements.txt": "beta\n"})
    files = [path for path in venv.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "beta.py" for path in files)
    assert {path.stat().st_nlink for path in files} == {1}
    assert list((at.directory / "state" / "cache" / "shop" / "uv").iterdir())


def test_bytecode_is_compiled(at: Installer) -> None:
    venv = at.install({"requirements.txt": "alpha\n"})
    assert list(venv.rglob("alpha.*.pyc"))


def test_venv_programs_work(at: Installer) -> None:
    venv = at.install({"requirements.txt": "alpha\n"})
    code = "import alpha, sys; print(alpha.VERSION, sys.prefix)"
    done = subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", str(venv)]


def test_missing_python(at: Installer) -> None:
    with pytest.raises(DeployError, match="there is no Python at /nonexistent/python"):
        at.install({"requirements.txt": "alpha\n"}, python="/nonexistent/python")


def test_uv_configuration_is_ignored(at: Installer) -> None:
    """The release holds an invalid uv.toml."""
    files = {"requirements.txt": "alpha\n", "uv.toml": "not toml at all"}
    assert installed(at.install(files)) == {"alpha": "1.0"}


def test_missing_uv(at: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", str(at.directory))
    monkeypatch.setenv("PATH", str(at.directory))
    with pytest.raises(DeployError, match="uv is not installed") as caught:
        at.install({"requirements.txt": "alpha\n"})
    assert caught.value.hint == Hint(HintKind.INSTALL_UV)


@pytest.mark.threat(88)
def test_mark_of_a_build_is_refused(tmp_path: Path) -> None:
    """A build could link the mark to a file of another app."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / COMPLETE_MARK).symlink_to(elsewhere)
    with pytest.raises(DeployError, match="the build left"):
        mark_complete(tmp_path, "")
    assert not elsewhere.exists()
