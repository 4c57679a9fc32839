"""The units of a backup: root's part without any variable, and the app's command in the service's sandbox."""

from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.units.phases import phase_unit
from tests.support.rendered import BLOG, FOREIGN, HOST, LEDGER, Unit, files, make_entry, unit
from units.apps.changes import InitialContents, app_changes
from units.changes.change import Change, Directory
from units.render.app import app_files
from units.system import layout

IN_RELEASE = "/bin/sh /opt/hookd/current/code/units/in_release.sh"
PYTHON = "/opt/hookd/current/venv/bin/python"
BACKUPS = "/var/lib/hookd-backups/ledger"
LITE = make_entry(
    "lite", {"units": "hookd"}, "unix:/run/lite.sock:/", release={"commands": [["true"]], "backup": "sqlite"}
)
SANDBOX = ("User", "Group", "ProtectSystem", "ReadWritePaths", "NoNewPrivileges", "PrivateUsers", "SystemCallFilter")


def part(name: str, app: App = LEDGER) -> Unit:
    return unit(HOST, f"{app.name}-{name}.service", app)


@pytest.mark.threat(92)
def test_root_runs_no_app_code() -> None:
    """Its programs are hookd's and the system's, and no variable of the app reaches them."""
    backup = part("backup")
    assert "User" not in backup
    assert not [key for key in backup if key.startswith(("Environment", "PassEnvironment", "WorkingDirectory"))]
    commands = [*backup["ExecStart"], *backup["ExecStopPost"]]
    assert commands == [
        '/usr/bin/echo "$$ pg_dump ledger"',
        "/usr/bin/systemctl --quiet start ledger-dump.service",
        f"{PYTHON} -I -m hookd.files.backups keep {BACKUPS} /srv/ledger command 5",
        "/usr/bin/systemctl --quiet stop ledger-dump.service",
        f"{PYTHON} -I -m hookd.files.backups discard {BACKUPS}",
    ]
    assert backup["ReadWritePaths"] == [BACKUPS]


@pytest.mark.parametrize("name", ["dump", "restore"])
def test_commands_run_as_the_service(name: str) -> None:
    service, command = unit(HOST, "ledger.service", LEDGER), part(name)
    assert {key: command.get(key) for key in SANDBOX} == {key: service.get(key) for key in SANDBOX}
    assert command["EnvironmentFile"] == ["/etc/hookd/env/ledger"]


def test_systemd_opens_the_files() -> None:
    dump, restore = part("dump"), part("restore")
    assert (dump["StandardOutput"], dump["StandardError"]) == (
        [f"truncate:{BACKUPS}/.new"],
        ["file:/run/hookd-phases/ledger"],
    )
    assert dump["WorkingDirectory"] == ["/srv/ledger/next"]
    assert (restore["StandardInput"], restore["WorkingDirectory"]) == (
        [f"file:{BACKUPS}/.restored"],
        ["-/srv/ledger/current"],
    )
    assert (dump["ExecStart"], restore["ExecStart"]) == (
        [f'{IN_RELEASE} "pg_dump" "ledger"'],
        [f'{IN_RELEASE} "psql" "ledger"'],
    )


def test_sqlite_needs_no_app_program() -> None:
    [dump], [restore] = part("dump", LITE)["ExecStart"], part("restore", LITE)["ExecStart"]
    places = '"/var/lib/lite/uploads" "/var/lib/lite/logs"'
    assert dump == f'{IN_RELEASE} "{PYTHON}" "-I" "-m" "hookd.files.sqlite_copies" "save" {places}'
    assert restore == dump.replace('"save"', '"load"')
    assert part("backup", LITE)["ExecStart"][0] == '/usr/bin/echo "$$ sqlite backup"'


def test_worker_starts_root_s_part() -> None:
    text = files(HOST, LEDGER)[Path("/etc/sudoers.d/hookd-ledger")].text
    assert "systemctl start --wait ledger-backup.service" in text
    assert "ledger-dump" not in text and "ledger-restore" not in text


def test_backups_belong_to_root_and_stay() -> None:
    def steps(app: App) -> tuple[Change, ...]:
        return app_changes(app, "", InitialContents("x" * 32), app_files(app, HOST))

    place = Directory(layout.BACKUPS / "ledger", "root", "root", 0o700, "keep")
    assert place in steps(LEDGER)
    assert not [step for step in steps(BLOG) if isinstance(step, Directory) and "backups" in str(step.path)]


def test_no_backup_means_no_unit() -> None:
    for app in (BLOG, FOREIGN):
        names = {path.name for path in files(HOST, app)}
        assert not names & {phase_unit(app, "backup"), f"{app.name}-dump.service", f"{app.name}-restore.service"}
