"""The backup before the release commands: without it none runs, and a person brings it back with one command."""

import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hookd.files.backups import list_backups
from hookd.model.decision import Verdict
from hookd.model.deployment import Status, Trigger
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.settings import AppPaths
from hookd.queue.published import read_decisions
from tests.support.databases import count_rows, make_database, written
from tests.support.installation import Installation, app_files
from tests.support.processes import python, wait_for
from tests.support.typed import hookd
from worker.journal import Journal

SQLITE = {"handover": "restart", "shared": {"directories": ["data"]}}
APPS: dict[str, dict[str, Any]] = {
    "lite": SQLITE,
    "half": SQLITE,
    "fails": {"handover": "restart"},
    "clean": {**SQLITE, "limits": {"keep_releases": 2}},
    "empty": SQLITE,
    "kept": {"handover": "restart", "limits": {"keep_releases": 2}},
    "dump": {"handover": "restart"},
    "busy": {"handover": "restart"},
    "killed": SQLITE,
}

DELETE = """
import sqlite3, sys
app = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
app.execute("DELETE FROM one")
{end}
"""
HANG = "import time; print('half done', flush=True); time.sleep(600)"


def run(*code: str) -> list[str]:
    return ["python", "-c", *code]


def database(site: Installation, app: str) -> Path:
    return site.root(app) / "shared" / "data" / "app.db"


def paths(site: Installation, app: str) -> AppPaths:
    known = site.config.catalogue.get(app)
    assert known
    return AppPaths(known, site.config.settings)


def backups(site: Installation, app: str) -> list[str]:
    """Return the releases of the backups, the newest first."""
    return [backup.release for backup in list_backups(paths(site, app).backups)]


def migrate(site: Installation, app: str, end: str = "") -> None:
    """Let the release commands delete rows, and then run the code in `end`."""
    command = run(DELETE.format(end=end), str(database(site, app)))
    site.change_app(app, release={"backup": "sqlite", "commands": [command]})


def typed(site: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Type a command that becomes a program of the worker."""
    argv = python("-m", "hookd.cli", *arguments)
    return subprocess.run(argv, env=site.environment, input="", capture_output=True, text=True, check=False)


def wait_until_half_done(site: Installation, running: str) -> None:
    """Wait for the line that HANG prints."""
    site.wait_for_step(running, "release_commands")
    wait_for(
        lambda: re.search(r" half done$", site.log_of(site.records.get(running)), re.MULTILINE), what="the command"
    )


def restore(site: Installation, app: str, *more: str) -> "subprocess.CompletedProcess[str]":
    return typed(site, "restore", app, "--yes", *more)


@pytest.mark.promise(69)
def test_copy_while_the_app_writes(site: Installation) -> None:
    """The copy is of one moment, though the app writes, and the command brings exactly its rows back."""
    site.ship("lite", app_files("one"))
    path = make_database(database(site, "lite"), rows=2000)
    migrate(site, "lite")
    with written(path):
        two = site.ship("lite", app_files("two"))
    names = [step.name for step in two.steps]
    assert (two.status, names.index("backup")) == (Status.SUCCEEDED, names.index("release_commands") - 1)
    assert [(backup.release, backup.kind) for backup in list_backups(paths(site, "lite").backups)] == [
        (two.release, "sqlite")
    ]
    assert count_rows(path)[0] < 2000
    done = restore(site, "lite")
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = count_rows(path)
    assert one == other > 2000
    assert site.serving("lite") == "two"
    [decision] = [found for found in read_decisions(site.records.connection, "lite", 5) if found.source == "person"]
    assert (decision.verdict, f"restored the backup {two.release}" in decision.why) == (Verdict.RESTORED, True)


def test_failed_command_names_the_backup(site: Installation) -> None:
    """The migration deletes rows and fails. The printed command brings them back."""
    site.ship("half", app_files("one"))
    path = make_database(database(site, "half"))
    migrate(site, "half", "raise SystemExit('column is in use')")
    bad = site.ship("half", app_files("two"))
    [name] = backups(site, "half")
    assert bad.status is Status.FAILED
    assert "column is in use" in (bad.cause or "") and f"(backup {name})" in (bad.cause or "")
    assert bad.hint == Hint(HintKind.RESTORE_OWN, name)
    assert count_rows(path) == (0, 50)
    done = typed(site, *render_hint(bad.hint, "half", bad.id).removeprefix("hookd ").split(), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert count_rows(path) == (50, 50)
    assert site.serving("half") == "one"


def test_clean_backup_outlives_failures(site: Installation) -> None:
    """Later tries back a half migrated database up. The backup from before the first failure stays, and is the hint."""
    site.ship("clean", app_files("one"))
    path = make_database(database(site, "clean"))
    migrate(site, "clean", "raise SystemExit('no')")
    first = site.ship("clean", app_files("two"))
    tries = [site.deploy("clean") for _ in range(3)]
    assert {one.status for one in (first, *tries)} == {Status.FAILED}
    [name] = {one.hint.argument for one in (first, *tries) if one.hint}
    assert name == backups(site, "clean")[-1] and len(backups(site, "clean")) == 3
    assert typed(site, "restore", "clean", name, "--yes").returncode == 0
    assert count_rows(path) == (50, 50)
    again = site.deploy("clean")
    assert again.hint == Hint(HintKind.RESTORE_OWN, backups(site, "clean")[0]), "newer data since the restore"
    site.change_app("clean", release={"backup": "sqlite", "commands": [["true"]]})
    assert site.deploy("clean").status is Status.SUCCEEDED
    assert len(backups(site, "clean")) == 2


def test_backup_without_a_file_says_so(site: Installation) -> None:
    site.change_app("empty", release={"backup": "sqlite", "commands": [["true"]]})
    done = site.ship("empty", app_files("one"))
    assert (done.status, "warning: no SQLite file lies in" in site.log_of(done)) == (Status.SUCCEEDED, True)
    refused = typed(site, "restore", "empty", backups(site, "empty")[0], "--yes")
    assert (refused.returncode, "this backup holds no file" in refused.stdout + refused.stderr) == (1, True)


@pytest.mark.promise(70)
def test_failed_backup_stops_the_deployment(site: Installation) -> None:
    """No release command runs, the commit is not to blame, and the next try is a whole one."""
    ran = site.directory / "ran"
    site.ship("fails", app_files("one"))
    broken = {"backup": run("print('half'); raise SystemExit('no such host')"), "restore": ["cat"]}
    site.change_app("fails", release={"commands": [["touch", str(ran)]], **broken})
    bad = site.ship("fails", app_files("two"))
    assert bad.status is Status.FAILED
    assert (bad.cause or "").startswith("the backup failed, and no release command ran: ")
    assert "no such host" in (bad.cause or "")
    assert [step.outcome for step in bad.steps if step.name == "backup"] == ["failed"]
    assert not {"release_commands", "switch"} & {step.name for step in bad.steps}
    assert not ran.exists()
    assert list(paths(site, "fails").backups.iterdir()) == []
    state = Journal(paths(site, "fails").journal).state()
    assert (state.quarantined, state.release_commands) == ((), ())
    site.change_app("fails", release={"backup": run("print('all')")})
    assert site.deploy("fails", Trigger.PUSH).status is Status.SUCCEEDED
    assert ran.exists()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import sys; sys.stderr.write('done')", "the backup is empty"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_incomplete_backup_is_none(code: str, cause: str, site: Installation) -> None:
    before = backups(site, "fails")
    site.change_app("fails", release={"backup": run(code), "commands": [["true"]], "restore": ["cat"]})
    bad = site.ship("fails", app_files(cause))
    assert (bad.status, cause in (bad.cause or "")) == (Status.FAILED, True)
    assert backups(site, "fails") == before


def test_newest_backups_stay(site: Installation) -> None:
    release = {"commands": [["true"]], "backup": ["sh", "-c", "echo $HOOKD_RELEASE"], "restore": ["cat"]}
    site.change_app("kept", release=release)
    shipped = [site.ship("kept", app_files(str(number))) for number in range(4)]
    assert {one.status for one in shipped} == {Status.SUCCEEDED}
    assert backups(site, "kept") == [shipped[3].release, shipped[2].release]
    place = paths(site, "kept").backups
    assert (place.stat().st_mode & 0o777, {file.stat().st_mode & 0o777 for file in place.iterdir()}) == (0o700, {0o600})
    printed = hookd(site, "restore", "kept", "--list").stdout.splitlines()
    assert [line.split()[0] for line in printed[:2]] == backups(site, "kept")
    assert printed[2] == f"  next: hookd restore kept {shipped[3].release}"


def test_output_of_a_command_is_kept(site: Installation) -> None:
    """Only its standard output, byte for byte. Its variables are the service's, and the rest is in the log."""
    got, code = (
        site.directory / "got",
        "import sys; sys.stdout.buffer.write(bytes(range(256))); print('dumped', file=sys.stderr)",
    )
    restoring = ["sh", "-c", f"echo restoring; cat > {got}"]
    site.change_app("dump", release={"commands": [["true"]], "backup": run(code), "restore": restoring})
    one = site.ship("dump", app_files("one"))
    assert one.status is Status.SUCCEEDED
    assert "dumped" in site.log_of(one) and "import sys" in site.log_of(one)
    [backup] = list_backups(paths(site, "dump").backups)
    assert backup.path.read_bytes() == bytes(range(256))
    two = site.ship("dump", app_files("two"))
    assert two.status is Status.SUCCEEDED
    site.circus("stop", "dump")
    done = restore(site, "dump", one.release or "")
    assert (done.returncode, "restoring" in done.stdout) == (0, True)
    assert got.read_bytes() == bytes(range(256))
    assert site.circus("status", "dump") == "stopped", "it was stopped before"
    site.circus("start", "dump")


def test_rollback_makes_no_backup(site: Installation) -> None:
    before = backups(site, "dump")
    done = hookd(site, "rollback", "dump")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the database stays as it is\n  next: hookd restore dump --list" in done.stdout
    assert backups(site, "dump") == before


def test_failed_restore_leaves_the_app_stopped(site: Installation) -> None:
    site.change_app("dump", release={"restore": ["sh", "-c", "echo no such table >&2; exit 3"]})
    done = restore(site, "dump")
    assert (done.returncode, "no such table" in done.stdout) == (1, True)
    assert "the restore failed" in done.stderr and "Traceback" not in done.stderr
    assert site.circus("status", "dump") == "stopped"
    site.circus("start", "dump")


@pytest.mark.parametrize(
    ("app", "release", "words"),
    [
        ("half", "000009-000000000000", "there is no backup '000009-000000000000' of half"),
        ("busy", "", "there is no backup of busy in"),
        ("nobody", "", "there is no app 'nobody'"),
    ],
)
def test_unknown_backup_is_named(app: str, release: str, words: str, site: Installation) -> None:
    done = restore(site, app, *([release] if release else []))
    assert (done.returncode, words in done.stderr, "next: " in done.stderr) == (2, True, True), done.stderr


def test_backup_of_another_kind(site: Installation) -> None:
    file = site.directory / "apps" / "kept.toml"
    before = file.read_text()
    file.write_text(re.sub(r'"backup" = .*\n"restore" = .*\n', '"backup" = "sqlite"\n', before))
    done = restore(site, "kept")
    file.write_text(before)
    assert (done.returncode, "is not of the kind of this backup (command)" in done.stderr) == (2, True), done.stderr


def test_restore_waits_for_no_deployment(site: Installation) -> None:
    """It refuses while one runs, and asks before it changes anything."""
    site.change_app("busy", release={"commands": [["true"]], "backup": ["echo", "data"], "restore": ["false"]})
    site.ship("busy", app_files("one"))
    asked = hookd(site, "restore", "busy")
    assert (asked.returncode, "What was written since then is lost" in asked.stdout) == (1, True)
    site.change_app("busy", release={"commands": [run(HANG)]})
    site.repositories["busy"].commit_and_push(app_files("two"))
    running = site.send_push("busy")["deployment"]
    wait_until_half_done(site, running)
    done = restore(site, "busy")
    os.kill(site.deployer("busy"), signal.SIGKILL)
    assert (done.returncode, "a deployment of busy runs" in done.stderr) == (1, True), done.stderr
    assert site.wait_for_ending(running).status is Status.FAILED
    assert site.serving("busy") == "one"


def test_interrupted_commands_name_the_backup(site: Installation) -> None:
    site.ship("killed", app_files("one"))
    path = make_database(database(site, "killed"))
    migrate(site, "killed", HANG)
    site.repositories["killed"].commit_and_push(app_files("two"))
    running = site.send_push("killed")["deployment"]
    wait_until_half_done(site, running)
    os.kill(site.deployer("killed"), signal.SIGKILL)
    assert site.wait_for_ending(running).status is Status.FAILED
    after = site.deploy("killed", Trigger.RECONCILE)
    [name] = backups(site, "killed")
    assert (after.status, f"(backup {name})" in (after.cause or "")) == (Status.UNCHANGED, True)
    with closing(sqlite3.connect(path)) as app:
        assert app.execute("SELECT count(*) FROM one").fetchone() == (0,)
