"""The whole doctor on a host without setup: it raises nothing and changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.toml_tables import toml
from tests.support.typed import typed
from tests.support.users import as_nobody
from units.doctor import context, run
from units.doctor.checks import system
from units.doctor.finding import CannotCheck, Finding, ok
from units.doctor.report import Report
from units.doctor.run import Check, run_checks, run_doctor
from units.system import layout, systemd
from units.system.disk import UnsafePath
from units.system.run import CommandFailed

APP = {
    "repository": "git@git.example.org:acme/shop.git",
    "full_name": "acme/shop",
    "root": "/srv/shop",
    "health": {"url": "http://127.0.0.1:1/healthz"},
}


@pytest.fixture
def config(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's configuration with one app, on a host that was never set up."""
    monkeypatch.setattr(layout, "CONFIG", machine)
    monkeypatch.setattr(run, "missing_setup", lambda: None)
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A configuration with one app, of a machine without root's setup."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "shop.toml").write_text(toml(APP))
    settings = {"state": tmp_path / "state", "redis": {"url": f"unix://{tmp_path}/redis.sock"}}
    (tmp_path / "hookd.toml").write_text(toml(settings))
    return tmp_path / "hookd.toml"


def files(directory: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in directory.rglob("*"))


def of(report: Report, check: str, app: str | None = None) -> list[Finding]:
    return [one for one in report.findings if (one.check, one.app) == (check, app)]


def test_bare_host_has_only_errors(config: Path) -> None:
    before = files(config.parent)
    report = run_doctor(config)
    assert report.exit_status == 2
    assert not [one for one in report.findings if "this check failed" in one.message]
    assert of(report, "configuration")[0].level == "ok"
    assert "the user manager is missing" in " ".join(one.message for one in of(report, "setup"))
    assert [one.level for one in of(report, "redis")] == ["error"]
    assert {one.app for one in report.findings} == {None, "shop"}
    assert files(config.parent) == before


@pytest.mark.promise(37)
def test_every_problem_has_a_hint(config: Path) -> None:
    for finding in run_doctor(config).findings:
        assert finding.hint or finding.level in ("ok", "unknown"), finding
        assert finding.check, finding


@pytest.mark.parametrize("text", ["state = 5\n", "no toml", "\x00", "unknown = 1\nother = 2\n"])
def test_invalid_settings_stop_no_other_check(config: Path, text: str) -> None:
    config.write_text(text)
    report = run_doctor(config)
    named = [one for one in of(report, "configuration") if one.level == "error"]
    assert named
    assert all(str(config) in one.message and f"sudoedit {config}" in (one.hint or "") for one in named)
    assert of(report, "setup")[0].level == "error"
    (hidden,) = of(report, "redis")
    assert (hidden.level, "needs a valid" in hidden.message) == ("unknown", True)


def test_missing_configuration(tmp_path: Path) -> None:
    report = run_doctor(tmp_path / "none.toml")
    assert report.exit_status == 2
    assert "cannot be read" in of(report, "configuration")[0].message


def test_bare_host_has_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CURRENT", "CONFIG"):
        monkeypatch.setattr(layout, name, tmp_path / name)
    assert _first(run_doctor(layout.CONFIG)) == ("hookd is not installed on this host", "sudo ./run install")
    layout.CURRENT.touch()
    hint = "sudo hookd setup --domain deploy.example.org"
    assert _first(run_doctor(layout.CONFIG)) == ("hookd is not set up on this host", hint)


def _first(report: Report) -> tuple[str, str | None]:
    """Return the one finding that needs hookd."""
    (found,) = (one for one in report.findings if one.check not in ("clock", "versions", "kernel"))
    return found.message, found.hint


def test_machine_is_no_server(machine: Path) -> None:
    service = {"manager": "circus", "endpoint": f"ipc://{machine.parent}/circus.sock"}
    (machine.parent / "apps" / "shop.toml").write_text(toml({**APP, "service": service}))
    report = run_doctor(machine)
    assert [one.check for one in report.findings if one.app is None] == ["configuration", "server"]
    assert not [one for one in report.findings if one.level in ("error", "warning")]
    (queue,) = of(report, "deployments", "shop")
    assert (queue.message, queue.hint) == (
        f"Redis does not answer at unix://{machine.parent}/redis.sock",
        "hookd redis",
    )
    shown = typed(machine, "permissions", "shop")
    assert (shown.exit_code, "hookd setup" in shown.stderr) == (3, False)


def test_absent_systemd_is_named_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (context, system):
        monkeypatch.setattr(module, "is_booted", lambda: False)
    monkeypatch.setattr(context, "read_units", failing)
    assert [one.message for one in run_doctor(config).findings].count(systemd.ABSENT) == 1


def failing(_names: object) -> dict[str, systemd.Unit]:
    """Fail as `systemctl show` on a host without systemd."""
    raise CommandFailed(("systemctl",), "ended with 1", "System has not been booted with systemd")


@pytest.mark.threat(74)
def test_invalid_app_stops_no_other(config: Path) -> None:
    (config.parent / "apps" / "blog.toml").write_text('branch = "-x"\n')
    report = run_doctor(config)
    assert "blog.toml" in of(report, "configuration")[0].message
    assert of(report, "git", "shop")
    assert not of(report, "git", "blog")


def test_single_app(config: Path) -> None:
    (config.parent / "apps" / "blog.toml").write_text(toml({**APP, "root": "/srv/blog", "full_name": "a/blog"}))
    assert {one.app for one in run_doctor(config, "blog").findings} == {None, "blog"}
    assert {one.app for one in run_doctor(config, "none").findings} == {None}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_missing_rights_are_unknown(config: Path) -> None:
    for above in (config.parent, *config.parents):
        above.chmod(above.stat().st_mode | 0o555)

    def hidden() -> list[tuple[str, str | None]]:
        return [(one.check, one.hint) for one in run_doctor(config).findings if one.level == "unknown"]

    assert "('sudo', 'sudo hookd doctor')" in as_nobody(hidden)


def test_unknown_app_is_named(config: Path) -> None:
    done = typed(config, "doctor", "shpo")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "hookd: there is no app 'shpo', there are: shop\n  next: hookd status\n"


def test_exception_becomes_a_finding() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("one thing")
        raise ZeroDivisionError("a mistake")

    found = run_checks([Check("files", breaks, "all is well", "shop")])
    assert [(one.level, one.check, one.app) for one in found] == [("ok", "files", "shop"), ("unknown", "files", "shop")]
    assert "ZeroDivisionError: a mistake" in found[1].message


def test_impossible_check_has_a_hint() -> None:
    def hidden() -> list[Finding]:
        raise CannotCheck("it is dark", "sudo hookd doctor")

    (found,) = run_checks([Check("files", hidden, "all is well")])
    assert (found.level, found.message, found.hint) == ("unknown", "it is dark", "sudo hookd doctor")


@pytest.mark.threat(66)
def test_unsafe_link_is_an_error() -> None:
    def astray() -> list[Finding]:
        raise UnsafePath(Path("/srv/shop/shared"), "shared is not a directory")

    (found,) = run_checks([Check("files", astray, "all is well", "shop")])
    assert (found.level, found.hint) == ("error", "sudo namei -lx /srv/shop/shared")


@pytest.mark.threat(66)
def test_huge_journal_is_not_read(config: Path) -> None:
    journals = config.parent / "state" / "journals"
    journals.mkdir(parents=True)
    with (journals / "shop.jsonl").open("wb") as file:
        file.truncate(2**40)
    (found,) = of(run_doctor(config), "answers", "shop")
    assert (found.level, "shop.jsonl: it holds more than 16777216 bytes" in found.message) == ("error", True)


def test_passed_check_has_a_message() -> None:
    (found,) = run_checks([Check("files", lambda: (), "all is well")])
    assert (found.level, found.message) == ("ok", "all is well")


def test_check_names_are_unique() -> None:
    for table in (run.HOST_CHECKS, run.APP_CHECKS):
        assert len({name for name, _, _ in table}) == len(table)
