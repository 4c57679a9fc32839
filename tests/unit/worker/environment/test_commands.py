"""uv's argument vectors for each kind of project. Nothing is run here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.tasks import make_app
from worker.environment.commands import VenvCommands
from worker.environment.requirements import PackageList
from worker.environment.source import Kind, Source

REL, VENV = Path("/srv/rel"), Path("/srv/venvs/k")
LIMITS = {"step_seconds": 60, "silence_seconds": 30}


def commands(
    kind: Kind, name: str, *, packages: PackageList | None = None, linked: bool = False, **dependencies: Any
) -> VenvCommands:
    source = Source(kind, REL / name, REL, packages=packages or PackageList())
    app = make_app(Path("/srv"), dependencies=dependencies, limits=LIMITS)
    env = {"HOME": "/state/home"}
    return VenvCommands(
        Path("/uv"), Path("/usr/bin/py"), Path("/own"), VENV, app, source, env, is_linked=linked, is_fresh=not linked
    )


PIP = "--python /srv/venvs/k/bin/python"
LIST = "/srv/venvs/k/hookd-packages.txt"
CHOSEN: dict[str, Any] = {"extras": ["prod"], "groups": ["web"]}
LIMITED = PackageList(constraints=["flask<4"], options=["--prerelease", "allow"])
NO_DEV = "--no-default-groups --no-dev --no-editable"
INSTALLS = {
    "list": (commands("list", "r.txt", linked=True), f"pip install {PIP} --exact --upgrade -r {LIST}"),
    "fresh list": (commands("list", "r.txt"), f"pip install {PIP} --refresh -r {LIST}"),
    "constrained list": (
        commands("list", "r.txt", packages=LIMITED, linked=True),
        f"pip install {PIP} --exact --upgrade --prerelease allow -c /srv/venvs/k/hookd-constraints.txt -r {LIST}",
    ),
    "hashed": (commands("hashed", "r.txt", linked=True), f"pip sync {PIP} --require-hashes {LIST}"),
    "locked": (commands("locked", "pdm.lock", linked=True), f"pip sync {PIP} {LIST}"),
    "pylock": (
        commands("pylock", "pylock.toml", linked=True, **CHOSEN),
        f"pip sync {PIP} /srv/rel/pylock.toml --extra prod --group web",
    ),
    "project": (
        commands("project", "setup.py", linked=True, **CHOSEN),
        f"pip install {PIP} --exact --upgrade --extra prod --group web -r /srv/rel/setup.py",
    ),
    "uv": (
        commands("uv", "uv.lock", linked=True, **CHOSEN),
        f"sync --locked {NO_DEV} --extra prod --group web",
    ),
    "uv without builds": (
        commands("uv", "uv.lock", linked=True, allow_build=False),
        f"sync --locked {NO_DEV} --no-install-local --no-build",
    ),
    "list without builds": (
        commands("list", "r.txt", linked=True, allow_build=False),
        f"pip install {PIP} --no-build --exact --upgrade -r {LIST}",
    ),
}


@pytest.mark.parametrize("name", INSTALLS)
def test_install_command(name: str) -> None:
    built, expected = INSTALLS[name]
    [command] = built.install()
    assert command.argv == ("/uv", *expected.split(" "))
    assert (command.total, command.silence, command.cwd) == (60, 30, REL)


def test_lock_installs_into_the_venv() -> None:
    [command] = commands("uv", "uv.lock").install()
    assert command.env["UV_PROJECT_ENVIRONMENT"] == "/srv/venvs/k"
    assert command.env["UV_PYTHON"] == "/srv/venvs/k/bin/python"


def test_poetry_exports_its_lock() -> None:
    export, sync = commands("poetry", "poetry.lock", linked=True, **CHOSEN).install()
    text = " ".join(export.argv)
    assert text.startswith("/uv tool run --quiet --python /own --from poetry==")
    assert text.endswith(f"poetry export --format requirements.txt --only main,web --extras prod --output {LIST}")
    assert sync.argv == ("/uv", *f"pip sync {PIP} {LIST}".split(" "))


def test_create_and_add() -> None:
    built = commands("none", "")
    assert built.install() == []
    assert built.create().argv == (
        "/uv", "venv", "--quiet", "--allow-existing", "--python", "/usr/bin/py", "--", "/srv/venvs/k",
    )  # fmt: skip
    assert built.add(("gunicorn",)).argv[-1] == "gunicorn"


def test_day_of_packages_binds_the_project() -> None:
    """hookd's own gunicorn is newer than the packages of an old project."""
    built = replace(commands("list", "r.txt"), env={"UV_EXCLUDE_NEWER": "2022-11-11", "HOME": "/state/home"})
    assert built.install()[0].env["UV_EXCLUDE_NEWER"] == "2022-11-11"
    assert built.add(("gunicorn",)).env == {"HOME": "/state/home"}
