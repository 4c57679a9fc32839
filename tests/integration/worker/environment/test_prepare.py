"""Environments made by uv from real packages: content, rejections and reuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hookd.files.build_owner import COMPLETE_MARK
from hookd.model.hint import Hint, HintKind
from tests.support.environments import Installer, installed
from tests.support.tasks import deploying
from tests.support.wheels import hash_of, make_sdist, make_wheel, source_files
from worker.environment.prepare import find_uv, mark_complete
from worker.environment.server import GUNICORN
from worker.errors import CommandFailed, DeployError


@pytest.fixture
def at(tmp_path: Path) -> Installer:
    made = Installer(tmp_path)
    make_wheel(made.wheels, "alpha")
    make_wheel(made.wheels, "beta", requires=["alpha>=1"])
    return made


def test_plain_requirements(at: Installer) -> None:
    assert installed(at.install({"requirements.txt": "beta\n"})) == {"alpha": "1.0", "beta": "1.0"}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python never had setuptools")
def test_setuptools_of_an_old_python(at: Installer) -> None:
    """It is added as `python -m venv` did, where the index has it."""
    assert "setuptools" not in installed(at.install({"requirements.txt": "alpha\n"}))
    make_wheel(at.wheels, "setuptools", "80.0")
    make_wheel(at.wheels, "setuptools", "82.0")
    found = installed(at.install({"requirements.txt": "alpha\nbeta\n"}))
    assert found == {"alpha": "1.0", "beta": "1.0", "setuptools": "80.0"}


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
    assert cause.startswith("the dependencies of requirements.txt cannot be installed: ") and "nowhere" in cause
    assert "\n" not in cause


@pytest.mark.threat(75)
def test_package_without_wheel(at: Installer) -> None:
    trace = at.directory / "built"
    make_sdist(at.wheels, "gamma", trace)
    with pytest.raises(CommandFailed, match="Wheels are required for `gamma`") as caught:
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


def test_configuration_of_the_project_alone(at: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home of the build holds an invalid configuration of uv, and the project forbids an index."""
    for place in (at.directory / "etc", at.directory / "state" / "cache" / "shop" / "home" / ".config"):
        (place / "uv").mkdir(parents=True)
        (place / "uv" / "uv.toml").write_text("not toml at all")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(at.directory / "etc"))
    files = {
        "requirements.txt": "alpha\n",
        "pyproject.toml": f"[tool.uv]\nfind-links = ['{at.wheels}']\nno-index = true\n",
    }
    assert installed(at.install(files, environment={"UV_OFFLINE": "1"})) == {"alpha": "1.0"}


def test_missing_uv(at: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", str(at.directory))
    monkeypatch.setenv("PATH", str(at.directory))
    with pytest.raises(DeployError, match="uv is not installed") as caught:
        at.install({"requirements.txt": "alpha\n"})
    assert caught.value.hint == Hint(HintKind.INSTALL_UV)


def test_failed_build_suggests_another_python(at: Installer) -> None:
    make_sdist(at.wheels, "old", at.directory / "missing" / "trace")
    with pytest.raises(CommandFailed, match="cannot be installed") as caught:
        at.install({"requirements.txt": "old\n"})
    assert caught.value.hint == Hint(HintKind.SET_KEY, "dependencies.python=…")


@pytest.mark.threat(88)
def test_mark_of_a_build_is_refused(tmp_path: Path) -> None:
    """A build could link the mark to a file of another app."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / COMPLETE_MARK).symlink_to(elsewhere)
    with pytest.raises(DeployError, match="the build left"):
        mark_complete(tmp_path, "")
    assert not elsewhere.exists()


def test_empty_list(at: Installer) -> None:
    assert installed(at.install({"requirements.txt": ""})) == {}


def test_variable_of_a_requirements_file(at: Installer) -> None:
    files = {"requirements.txt": "--extra-index-url https://${TOKEN}@index.example.org/simple\nalpha\n"}
    with pytest.raises(DeployError, match=r"needs \$\{TOKEN\}, which has no value") as caught:
        at.install(files)
    assert caught.value.hint == Hint(HintKind.SET_BUILD_VARIABLE, "TOKEN")
    assert installed(at.install(files, environment={**at.variables, "TOKEN": "x"})) == {"alpha": "1.0"}


def test_variables_decide_about_the_environment(at: Installer) -> None:
    first = at.install({"requirements.txt": "alpha\n"})
    assert at.install({"requirements.txt": "alpha\n"}, environment={**at.variables, "CFLAGS": "-O2"}) != first


PACKAGE = '[project]\nname = "shop"\nversion = "{version}"\ndependencies = ["alpha"]\n'
BUILT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def project(at: Installer, version: str, layout: str = "src/shop") -> dict[str, str]:
    """Return a package with a build backend of its own."""
    files = source_files("shop", at.directory / "built", version)
    text = PACKAGE.format(version=version) + BUILT
    return {**files, "pyproject.toml": text, f"{layout}/__init__.py": ""}


def test_project_is_installed_per_commit(at: Installer) -> None:
    first = at.install(project(at, "1.0"))
    second = at.install(project(at, "2.0"))
    assert installed(first) == {"alpha": "1.0", "shop": "1.0"}
    assert installed(second) == {"alpha": "1.0", "shop": "2.0"}
    assert not list(second.rglob("*.pth"))


def broken(at: Installer, layout: str) -> dict[str, str]:
    return {**project(at, "1.0", layout), "backend.py": "raise SystemExit('no package here')"}


def test_broken_package_beside_the_code(at: Installer) -> None:
    """The app is imported from its release."""
    assert installed(at.install(broken(at, "shop"))) == {"alpha": "1.0"}
    assert "warning: the project is not installed as a package" in at.log


def test_broken_package_in_src(at: Installer) -> None:
    with pytest.raises(CommandFailed, match="cannot be installed"):
        at.install(broken(at, "src/shop"))


def test_extras_and_groups(at: Installer) -> None:
    text = '[project]\nname = "shop"\nversion = "1"\n[project.optional-dependencies]\nprod = ["alpha"]\n'
    files = {"pyproject.toml": text + '[dependency-groups]\nweb = ["beta"]\n'}
    assert installed(at.install(files)) == {}
    assert installed(at.install(files, extras=["prod"])) == {"alpha": "1.0"}
    assert "beta" in installed(at.install(files, groups=["web"]))


def test_pylock_toml(at: Installer) -> None:
    wheel = at.wheels / "alpha-1.0-py3-none-any.whl"
    hashes = f'{{sha256 = "{hash_of(wheel).removeprefix("sha256:")}"}}'
    text = (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        f'wheels = [{{url = "{wheel.as_uri()}", hashes = {hashes}}}]\n'
    )
    assert installed(at.install({"pylock.toml": text})) == {"alpha": "1.0"}


def test_pipfile_lock(at: Installer) -> None:
    text = json.dumps({"default": {"alpha": {"version": "==1.0"}}, "develop": {"beta": {"version": "==1.0"}}})
    assert installed(at.install({"Pipfile.lock": text, "Pipfile": ""})) == {"alpha": "1.0"}


def test_fresh_environment_replaces_the_old(at: Installer) -> None:
    files = {"requirements.txt": "alpha\n"}
    first = at.install(files)
    make_wheel(at.wheels, "alpha", "2.0")
    assert at.install(files) == first
    fresh = at.install(files, fresh=True)
    assert fresh != first
    assert (installed(first), installed(fresh)) == ({"alpha": "1.0"}, {"alpha": "2.0"})
    assert at.install(files) == fresh


def gunicorn_of(venv: Path) -> list[str]:
    return [path.name for path in venv.glob("lib/*/site-packages/gunicorn-*.dist-info")]


def test_gunicorn_is_added(at: Installer) -> None:
    make_wheel(at.wheels, "gunicorn", "20.1.0")
    old = {"requirements.txt": "gunicorn==20.1.0\n"}
    ours = [f"gunicorn-{GUNICORN}.dist-info"]
    assert gunicorn_of(at.install({"requirements.txt": "alpha\n"})) == ours
    assert f"hookd adds gunicorn=={GUNICORN} to the environment" in at.log
    assert gunicorn_of(at.install(old)) == ours
    assert gunicorn_of(at.install(old, gunicorn="own")) == ["gunicorn-20.1.0.dist-info"]


def test_python_that_fits(at: Installer) -> None:
    """This host has no such Python, and nothing is installed."""
    files = {"requirements.txt": "nowhere\n", ".python-version": "3.99\n"}
    with pytest.raises(DeployError, match=r"no Python of this host is ==3\.99\.\* \(\.python-version\)"):
        at.install(files)
    files = {"requirements.txt": "alpha\n", "pyproject.toml": "[project]\nname='x'\nrequires-python='>=3.99'\n"}
    with pytest.raises(DeployError, match=r">=3\.99 \(pyproject\.toml\)"):
        at.install(files)
    with pytest.raises(DeployError, match=r"and dependencies\.python is 3\."):
        at.install(files, python=sys.executable)


def test_python_by_its_version(at: Installer) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    files = {"requirements.txt": "alpha\n", ".python-version": "3.99\n"}
    venv = at.install(files, python=version)
    assert installed(venv) == {"alpha": "1.0"}
    assert list(venv.glob(f"lib/python{version}"))


def test_pinned_python_gives_way(at: Installer) -> None:
    files = {"pyproject.toml": PROJECT.format(needs="alpha"), ".python-version": "3.99\n"}
    assert installed(at.install(files)) == {"alpha": "1.0"}
    assert "warning: no Python of this host is ==3.99.* (.python-version)" in at.log


@pytest.mark.threat(87)
@pytest.mark.parametrize("file", [".python-version", "runtime.txt"])
@pytest.mark.parametrize("name", ["program", "directory", "option"])
def test_version_file_runs_no_program(at: Installer, file: str, name: str) -> None:
    """uv would run a program that is asked for by its path."""
    program, ran = at.directory / "bin" / "python", at.directory / "ran"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    text = {"program": str(program), "directory": str(at.directory), "option": f"--python-preference={program}"}[name]
    with pytest.raises(DeployError, match="no Python of this host is"):
        at.install({"requirements.txt": "alpha\n", file: text})
    assert not ran.exists()
