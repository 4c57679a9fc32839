"""Causes and remedies, found in the outputs of real programs (tests/data/outputs.txt)."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind, render_hint
from tests.support.processes import PROJECT
from worker.errors import Fault
from worker.report.cause import find_cause, health_cause, limit_cause, without_root
from worker.report.output import error_line


@cache
def outputs() -> dict[str, list[str]]:
    """Return the lines of each output by its name."""
    parts = (PROJECT / "tests" / "data" / "outputs.txt").read_text(encoding="utf-8").split("=== ")[1:]
    return {name: lines.splitlines() for name, _, lines in (part.partition("\n") for part in parts)}


def app(**over: Any) -> App:
    base = {
        "name": "shop",
        "repository": "git@example.org:acme/shop.git",
        "full_name": "acme/shop",
        "root": "/srv/apps/shop",
        "service": {"entry": "shop.wsgi:app"},
        "health": {"url": "http://127.0.0.1:8000/healthz"},
    }
    return App.model_validate(base | over)


def shown(name: str, phase: str = "check") -> tuple[str, str]:
    """Return the cause of an output, and the command that mends it."""
    cause = find_cause(phase, outputs()[name], app())
    assert cause is not None
    return cause.text, render_hint(cause.hint, "shop") if cause.hint else ""


EDIT, ENV = "sudo hookd app edit shop --set", "sudo hookd env set shop"
INSTALL = "sudo apt-get install"


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("attr", "Failed to find attribute 'app' in 'wsgi'", f"{EDIT} service.entry=…"),
        ("parse", "Failed to parse 'app.x'", f"{EDIT} service.entry=…"),
        ("notcallable", "Failed to find application object: 'app'", f"{EDIT} service.entry=…"),
        ("factoryargs", "TypeError: create_app() missing 1 required", f"{EDIT} service.entry=…"),
        ("nomodule", "ModuleNotFoundError: No module named 'shop'", f"{EDIT} service.entry=…"),
        ("nosub", "ModuleNotFoundError: No module named 'shop.wsgi'", f"{EDIT} service.entry=…"),
        ("nodep", "No module named 'celery', its package is not among the dependencies", ""),
        ("keyerror", "KeyError: 'SECRET_KEY'", f"{ENV} SECRET_KEY"),
        ("decouple", "UndefinedValueError: SECRET_KEY not found", f"{ENV} SECRET_KEY"),
        ("djenviron", "ImproperlyConfigured: Set the DATABASE_URL", f"{ENV} DATABASE_URL"),
        ("environs", 'EnvNotSetError: Environment variable "DATABASE_URL"', f"{ENV} DATABASE_URL"),
        ("pydantic", "ValidationError: field required: database_url, secret_key", f"{ENV} DATABASE_URL"),
        ("djsettings", "ImproperlyConfigured: Requested setting", f"{ENV} DJANGO_SETTINGS_MODULE"),
        ("sysexit", "SECRET_KEY is missing", f"{ENV} SECRET_KEY"),
        ("permission", "logs/app.log' (shared.directories)", f"{EDIT} shared.directories='[\"logs\"]'"),
        ("sqliteopen", "unable to open database file", f"{EDIT} shared.directories=…"),
        ("djmigrate", "OperationalError: unable to open database file", f"{EDIT} shared.directories=…"),
        ("syntax", "SyntaxError: invalid syntax in wsgi.py line 1", ""),
        ("gitrev", "a release is no git repository", ""),
        ("port", "Address already in use", "sudo ss -ltnp sport = :8123"),
        ("noprogram", "there is no program npm", f"{INSTALL} nodejs npm"),
        ("nobun", "there is no program bun", "sudo npm install --global bun"),
        ("noexec", "build.sh is not executable", "git update-index --chmod=+x build.sh"),
        ("npm_buildnotfound", "there is no program webpack", ""),
        ("uv_mysql", "Failed to build `mysqlclient==2.2.7`: ", f"{INSTALL} default-libmysqlclient-dev pkg-config"),
        ("uv_old_mysql", "Failed to build `mysqlclient==2.2.7`: ", f"{INSTALL} default-libmysqlclient-dev pkg-config"),
        ("uv_pgconfig", "pg_config executable not found", f"{INSTALL} libpq-dev"),
        ("uv_header", "ldap.h: No such file or directory", f"{INSTALL} libldap-dev libsasl2-dev"),
        ("uv_nogcc2", "No such file or directory: 'x86_64-linux-gnu-gcc'", f"{INSTALL} build-essential"),
        ("uv_lxml", "longintrepr.h", f"{EDIT} dependencies.python=…"),
        ("uv_reqpy", "incompatible with the project's Python requirement: `>=3.13`", f"{EDIT} dependencies.python=…"),
        ("uv_platform", "only found wheels for `inner`", f"{EDIT} dependencies.python=…"),
        ("uv_nowheel", "Wheels are required for `numpy`", f"{EDIT} dependencies.allow_build=true"),
        ("uv_nobinary", "has no binary distribution", f"{EDIT} dependencies.allow_build=true"),
        ("uv_backend", "Failed to build `gamma==1.0`: RuntimeError: old", f"{EDIT} dependencies.python=…"),
        ("uv_401", "answered 401 Unauthorized", f"{EDIT} dependencies.environment.UV_INDEX_URL=…"),
        ("uv_firstindex", "inner==2.0", f"{EDIT} dependencies.environment.UV_INDEX_STRATEGY=…"),
    ],
)
def test_cause_has_its_remedy(name: str, text: str, command: str) -> None:
    cause, remedy = shown(name)
    assert text in cause
    assert remedy == command


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chained", "ValueError: first line"),
        ("group", "TypeError: two"),
        ("assertion", "AssertionError"),
        ("sqlalchemy", "OperationalError: (sqlite3.OperationalError) no such table: x"),
        ("flaskkey", "KeyError: 'SQLALCHEMY_DATABASE_URI'"),
        ("flask_norev", "Can't locate revision identified by '0123abcd'"),
        ("alembic_noini", "FAILED: No 'script_location' key found in configuration."),
        ("djunknown", "Unknown command: 'migrat'. Did you mean migrate?"),
        ("flaskcmd", "Error: No such command 'db2'."),
        ("uv_notfound", "nothing-of-this-name-xyz was not found in the package registry and you require "),
        ("uv_old_notfound", "inner-nothing was not found in the package registry and you require inner-nothing==1.0"),
        ("uv_conflict", "flask==3.0.0 depends on werkzeug>=3.0.0"),
        ("uv_dns", "Name or service not known"),
        ("uv_nolock", "Unable to find lockfile at `uv.lock`"),
        ("uv_linker", "cannot find -lpython3.13: No such file or directory"),
        ("npm_etarget", "npm ETARGET: No matching version found for left-pad@99.0.0."),
        ("npm_404", "npm E404: Not Found - GET "),
        ("npm_missing", 'Missing script: "nothing"'),
        ("npm_nolock", "npm EUSAGE: The `npm ci` command can only install with an existing package-lock.json"),
        ("npm_fail", "Error: 1"),
        ("pnpm_install_frozen_lockfile", "ERR_PNPM_NO_LOCKFILE Cannot install"),
        ("yarn_install_frozen_lockfile", 'Couldn\'t find any versions for "left-pad"'),
        ("yarn_run_nothing", 'Command "nothing" not found.'),
    ],
)
def test_error_among_other_lines(name: str, text: str) -> None:
    assert text in error_line(outputs()[name])


def test_causes_are_short_lines() -> None:
    causes = [find_cause("build", lines, app()) for lines in outputs().values()]
    assert all(cause and len(cause.text) <= 200 and "\n" not in cause.text for cause in causes)


def test_missing_variable_of_a_build() -> None:
    assert shown("djenviron", "build")[1] == "sudo hookd env set --build shop DATABASE_URL"


@pytest.mark.parametrize(
    "frames",
    [
        ["    os.makedirs(app.instance_path)", '  File "<frozen os>", line 225, in makedirs'],
        [
            "    Path(app.instance_path).mkdir()",
            '  File "/usr/lib/python3.11/pathlib.py", line 1116, in mkdir',
            "    os.mkdir(self, mode)",
        ],
        ["    os.mkdir(app.instance_path)"],
    ],
    ids=["makedirs", "Path.mkdir", "os.mkdir"],
)
def test_directory_to_make_is_shared(frames: list[str]) -> None:
    """A directory is named itself, where the app cannot make it."""
    error = f"OSError: [Errno 30] Read-only file system: '{app().root}/releases/000001-2ac89889f4cc/web/instance'"
    lines = ["Traceback (most recent call last):", '  File "web/shop.py", line 24, in create_app', *frames, error]
    cause = find_cause("check", lines, app())
    assert cause and cause.hint
    assert render_hint(cause.hint, "shop") == f"{EDIT} shared.directories='[\"web/instance\"]'"


def test_shared_directories_are_kept() -> None:
    cause = find_cause("check", outputs()["permission"], app(shared={"directories": ["uploads"]}))
    assert cause and cause.hint
    assert render_hint(cause.hint, "shop") == f'{EDIT} shared.directories=\'["uploads", "logs"]\''


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("attr", Fault.CONFIGURATION),
        ("keyerror", Fault.CONFIGURATION),
        ("noprogram", Fault.HOST),
        ("syntax", Fault.COMMIT),
        ("nodep", Fault.COMMIT),
        ("chained", Fault.UNKNOWN),
    ],
)
def test_fault_of_a_failure(name: str, fault: Fault) -> None:
    cause = find_cause("check", outputs()[name], app())
    assert cause and cause.fault is fault


@pytest.mark.parametrize(
    ("text", "command", "fault"),
    [
        ("/healthz answered 404, not 200", f"{EDIT} health.url=…", Fault.CONFIGURATION),
        ("unix:/run/shop.sock:/healthz answered 302, 3 times", f"{EDIT} health.url=…", Fault.CONFIGURATION),
        ("/healthz answered 400, not 200", f"{EDIT} health.host=shop.example.org", Fault.CONFIGURATION),
        ("/healthz gives no answer within 20 s", f"{EDIT} health.deadline=60", Fault.CONFIGURATION),
        ("/healthz answered 504, not 200", f"{EDIT} health.deadline=60", Fault.CONFIGURATION),
        (
            "the page gives no answer when its 30 s were over (health.deadline)",
            f"{EDIT} health.deadline=60",
            Fault.CONFIGURATION,
        ),
        ("/healthz answered 500, not 200: the app raised ValueError: bad", "", Fault.UNKNOWN),
        (
            "/healthz answered 500, not 200: the app raised ImproperlyConfigured: Set the KEY_ID environment variable",
            f"{ENV} KEY_ID",
            Fault.CONFIGURATION,
        ),
    ],
)
def test_health_cause(text: str, command: str, fault: Fault) -> None:
    cause = health_cause(text, app(site={"domain": "shop.example.org"}))
    assert cause.text.startswith(text)
    assert (render_hint(cause.hint, "shop") if cause.hint else "") == command
    assert cause.fault is fault


def test_silent_server_of_its_own() -> None:
    """A server that was told no port does not answer on the socket that it was given."""
    service = {"units": "hookd", "command": ["python", "run.py"], "handover": "restart"}
    text = "unix:/run/hookd-apps/shop.sock:/ gives no answer for 4.7 s when its 30 s were over (health.deadline)"
    cause = health_cause(text, app(service=service))
    assert cause.hint == Hint(HintKind.SET_KEY, "service.listen=…")
    told = {**service, "listen": "127.0.0.1:5000"}
    assert health_cause(text, app(service=told)).hint == Hint(HintKind.SET_KEY, "health.deadline=60")


def test_limit_is_doubled() -> None:
    cause = limit_cause("npm printed nothing for 120 s (limits.silence_seconds)", "limits.silence_seconds", app())
    assert cause.hint == Hint(HintKind.SET_KEY, "limits.silence_seconds=240")


def test_hint_without_root() -> None:
    file, variables = Path("/home/me/apps/shop.toml"), Path("/home/me/shop.env")
    circus = app(
        service={"manager": "circus", "endpoint": "ipc:///run/c.sock", "environment_file": str(variables)},
    )
    for hint, edited in (
        (Hint(HintKind.SET_KEY, "service.entry=…"), file),
        (Hint(HintKind.SET_VARIABLE, "SECRET_KEY"), variables),
        (Hint(HintKind.SET_BUILD_VARIABLE, "SECRET_KEY"), file),
    ):
        assert render_hint(without_root(hint, circus, file), "shop") == f"${{EDITOR:-vi}} {edited}"
    assert without_root(Hint(HintKind.SHOW_LOG), circus, file) == Hint(HintKind.SHOW_LOG)


def test_output_that_says_nothing() -> None:
    assert find_cause("check", [], app()) is None
    assert error_line(["$ npm ci", "npm warn old"]) == "npm warn old"
