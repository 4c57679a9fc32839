"""The app's variables: one meaning for build, check, release and service, or a refusal that names the line."""

import json
from typing import Any, Final

import pytest

from hookd.model.deployment import Deployment, Status
from hookd.model.hint import render_hint
from hookd.variables import spell
from tests.support.installation import REQUIREMENTS, Installation
from tests.support.variables import CASE

APPS: dict[str, dict[str, Any]] = {
    "two-colours": {},
    "one": {"handover": "restart"},
    "strict": {"handover": "restart"},
}
WSGI: Final = """
import json, os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [json.dumps({name: value for name, value in os.environ.items() if name.startswith("T_")}).encode()]
"""
DUMP: Final = """
import json, os, sys
json.dump({name: value for name, value in os.environ.items() if name.startswith("T_")}, open(sys.argv[1], "w"))
"""
VALUES: Final = {
    "T_PLAIN": "same",
    "T_WORDS": "two words # and 'more'",
    "T_LINES": "-----BEGIN KEY-----\nabc=\n-----END KEY-----",
    "T_SIGNS": 'pa$s\\word "quoted" `id` ${HOME}',
    "T_UNICODE": "größe",
    "T_EMPTY": "",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A running hookd whose services read their variables from a file."""
    with Installation(tmp_path_factory.mktemp("site")) as installation:
        for name, over in APPS.items():
            file = installation.directory / f"{name}.env"
            service = {"environment_file": file, "preflight": ["python", "dump.py", "../checked.json"]}
            installation.add_app(name, **{**over, "service": service, "build": {"environment_file": file}})
        installation.start()
        yield installation


def ship(site: Installation, app: str, note: str) -> Deployment:
    files = {"wsgi.py": WSGI, "dump.py": DUMP, "requirements.txt": REQUIREMENTS, "note": note}
    return site.ship(app, dict(files))


@pytest.mark.threat(85)
@pytest.mark.parametrize("app", ["two-colours", "one"])
def test_same_variables_everywhere(site: Installation, app: str) -> None:
    (site.directory / f"{app}.env").write_text("# for people\n" + "".join(spell(*pair) for pair in VALUES.items()))
    dump = [[["python", "dump.py", f"../{name}.json"]] for name in ("built", "released")]
    site.change_app(app, build={"commands": dump[0]}, release={"commands": dump[1]})
    assert ship(site, app, "one").status is Status.SUCCEEDED
    found = {path.stem: json.loads(path.read_text()) for path in (site.root(app) / "releases").glob("*.json")}
    assert found == {"built": VALUES, "checked": VALUES, "released": VALUES}
    assert json.loads(site.serving(app)) == VALUES


def test_service_reads_file_at_restart(site: Installation) -> None:
    """As with systemd, a changed file counts after a restart of the service."""
    file = site.directory / "one.env"
    file.write_text("T_COLOUR=red\n")
    assert ship(site, "one", "red").status is Status.SUCCEEDED
    file.write_text("T_COLOUR=green\n")
    assert json.loads(site.serving("one")) == {"T_COLOUR": "red"}
    site.circus("restart", "one")
    assert json.loads(site.serving("one")) == {"T_COLOUR": "green"}


@pytest.mark.threat(85)
@pytest.mark.parametrize("number", range(1, 7))
def test_misread_line_is_refused(site: Installation, number: int) -> None:
    """The same commit is deployed after the file is corrected."""
    app, file = "strict", site.directory / "strict.env"
    lines = CASE.splitlines(keepends=True)
    broken = "".join(lines[5:7] if number == 6 else lines[number - 1 : number])
    file.write_text(f"T_PLAIN=same\n{broken}")
    bad = ship(site, app, f"with line {number}")
    assert (bad.status, bad.steps) == (Status.FAILED, ())
    assert (bad.cause or "").startswith(f"{file} line 2: ")
    assert ", write T_" in (bad.cause or "")
    assert bad.hint is not None and render_hint(bad.hint, app) == f"hookd doctor {app}"
    assert broken.partition("=")[2].strip() not in bad.model_dump_json()
    file.write_text("T_PLAIN=same\n")
    good = site.push_and_wait(app)
    assert (good.status, site.status(app).quarantined) == (Status.SUCCEEDED, ())


def test_file_without_text(site: Installation) -> None:
    file = site.directory / "strict.env"
    file.write_bytes(b"A=1\nT_PLAIN=caf\xe9\n")
    bad = ship(site, "strict", "latin")
    assert bad.cause == f"{file} line 2: a byte that is not UTF-8 text, write the file in UTF-8"


def test_file_of_service_alone(site: Installation) -> None:
    """A file that only the service reads is checked, too, because the service would not start."""
    file = site.directory / "strict.env"
    (site.directory / "build.env").write_text("A=1\n")
    site.change_app("strict", build={"environment_file": site.directory / "build.env"})
    file.write_text("export A=1\n")
    refused = ship(site, "strict", "service")
    assert "`export` is not understood" in (refused.cause or "")
    file.unlink()
    missing = site.push_and_wait("strict")
    assert (missing.status, missing.cause) == (
        Status.FAILED,
        f"the app's variables in {file} cannot be read: No such file or directory",
    )
    assert site.status("strict").quarantined == ()


def test_secret_of_service_is_redacted(site: Installation) -> None:
    file = site.directory / "strict.env"
    file.write_text("T_TOKEN=canary-of-the-service\n")
    code = ["python", "-c", f"print(open({str(file)!r}).read())"]
    site.change_app("strict", build={"environment_file": site.directory / "build.env", "commands": [code]})
    log = site.log_of(ship(site, "strict", "redacted"))
    assert "T_TOKEN=***" in log
    assert "canary" not in log
