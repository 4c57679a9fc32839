"""The sudoers lines and the worker's sudo commands are the same, both ways, for apps of every kind."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from hookd.model.app import App
from hookd.model.units.phases import in_use_unit, phase_unit, phases_of
from hookd.model.units.processes import all_processes, process_groups
from hookd.model.units.systemctl import SUDO, SYSTEMCTL, GroupVerb, Verb, start_phase, stop_phase
from tests.support.processes import PROJECT
from tests.support.rendered import ADOPTED, APPS, BLOG, FOREIGN, HOST, SHOP, files, make_entry
from worker.process.systemctl import control_command, group_command

A_B = make_entry("a-b", {"units": "hookd", "handover": "blue-green"}, "unix:/run/hookd-apps/a-b-{colour}.sock:/")
OTHER_NAME = make_entry("shop", {"name": "web@1.x"}, "http://127.0.0.1:8000/")
BESIDE = {
    "processes": {"worker": {"command": ["rq", "worker"], "count": 2, "overlap": True}, "beat": {"command": ["beat"]}},
    "timers": {"cleanup": {"command": ["flask", "cleanup"], "schedule": "hourly"}},
}
QUEUES = make_entry(
    "queues", {"units": "hookd", "handover": "blue-green"}, "unix:/run/hookd-apps/queues-{colour}.sock:/", **BESIDE
)
ONE = {"worker": {"command": ["rq", "worker"], "count": 3}}
QUEUE = make_entry("queue", {"units": "hookd", "restart_also": ["mine.service"]}, "unix:/run/q.sock:/", processes=ONE)
EVERY_APP = (*APPS, A_B, OTHER_NAME, QUEUES, QUEUE)
RULE = re.compile(r"manager ALL=\(root\) NOPASSWD: (?P<command>.+)")


def allowed(app: App) -> list[tuple[str, ...]]:
    """Return the commands that an app's file in sudoers.d allows, and reject unknown lines."""
    found = []
    for line in files(HOST, app)[Path(f"/etc/sudoers.d/hookd-{app.name}")].text.splitlines():
        if rule := RULE.fullmatch(line):
            found.append(tuple(rule["command"].split(" ")))
        else:
            assert not line or line.startswith("#") or line == DEFAULTS, line
    return found


DEFAULTS = 'Defaults:manager env_reset, !setenv, !requiretty, !pam_session, secure_path="/usr/sbin:/usr/bin:/sbin:/bin"'


def sayable(app: App, *verbs: Verb) -> set[tuple[str, ...]]:
    """Return the worker's commands for these verbs, without sudo and its option."""
    said = set()
    for name in app.services:
        for verb in verbs:
            argv = control_command(verb, name, 1, 1).argv
            assert argv[:2] == (SUDO, "-n")
            said.add(argv[2:])
    units = [phase_unit(app, phase) for phase in phases_of(app)]
    said |= {command for unit in units for command in (start_phase(unit), stop_phase(unit))}
    said.add(start_phase(in_use_unit(app)))
    groups = [group for colour in app.colours or (None,) for group in process_groups(app, colour)]
    said |= {control_command("restart", name, 1, 1).argv[2:] for name in app.service.restart_also}
    return said | {group_command(verb, group, 1).argv[2:] for verb in group_verbs_said() for group in groups}


def group_verbs_said() -> set[GroupVerb]:
    """Return the verbs of the processes' handover, read from its source."""
    tree = ast.parse((PROJECT / "worker/service/processes.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "_control"]
    return {ast.literal_eval(call.args[1]) for call in calls}


def verbs_said_in(*files_of_worker: str) -> set[str]:
    """Return the verbs that a handover uses, read from its source."""
    found = set()
    for file in files_of_worker:
        for node in ast.walk(ast.parse((PROJECT / "worker" / file).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "control":
                found.add(ast.literal_eval(node.args[1]))
    return found


def used(app: App) -> set[str]:
    """Return the verbs of an app's handover. Boot and repair use start and stop for colours only."""
    if app.service.handover == "restart":
        return verbs_said_in("deploy/start.py")
    return verbs_said_in("deploy/start.py", "deploy/blue_green.py", "boot.py", "deploy/repair.py")


@pytest.mark.threat(22)
@pytest.mark.promise(1)
@pytest.mark.parametrize("app", EVERY_APP, ids=lambda app: f"{app.name}-{app.service_name}")
def test_sudoers_equals_the_worker_s_commands(app: App) -> None:
    rules = allowed(app)
    assert len(rules) == len(set(rules))
    assert set(rules) == sayable(app, *(verb for verb in get_args(Verb) if verb in used(app)))


def test_no_verb_is_unused() -> None:
    assert verbs_said_in("deploy/start.py", "deploy/blue_green.py", "boot.py", "deploy/repair.py") == set(
        get_args(Verb)
    )


def callers_of(function: str) -> set[str]:
    """Return the worker's files that call a function."""
    return {
        file.name
        for file in (PROJECT / "worker").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    }


def test_sudo_stands_in_one_place() -> None:
    """The commands above are all, because these functions are called nowhere else."""
    # A restore by the worker's program is for circus alone.
    assert callers_of("control") <= {"start.py", "blue_green.py", "boot.py", "processes.py", "repair.py", "restore.py"}
    assert callers_of("control_command") == {"manager.py"}
    assert callers_of("group_command") == {"processes.py"}
    assert callers_of("sudo_command") == {"in_use.py", "systemctl.py", "unit.py"}
    speakers = {
        file.name for file in (PROJECT / "worker").rglob("*.py") if re.search(r"\bSUDO\b|\"sudo\"", file.read_text())
    }
    assert speakers == {"systemctl.py"}


@pytest.mark.threat(22)
@pytest.mark.parametrize("app", EVERY_APP, ids=lambda app: f"{app.name}-{app.service_name}")
def test_each_rule_is_literal(app: App) -> None:
    for rule in allowed(app):
        program, verb, *more, unit = rule
        assert program == SYSTEMCTL
        assert verb in {*get_args(Verb), *get_args(GroupVerb)}
        assert more in ([], ["--wait"]) or {*more, unit} <= set(all_processes(app))
        assert re.fullmatch(r"[A-Za-z0-9_.@-]+\.service", unit)
    text = files(HOST, app)[Path(f"/etc/sudoers.d/hookd-{app.name}")].text
    rules = [line for line in text.splitlines() if not line.startswith(("#", "Defaults"))]
    assert not [line for line in rules if re.search(r"[*?\[\]^$\\!,]", line)]


@pytest.mark.parametrize("app", EVERY_APP, ids=lambda app: f"{app.name}-{app.service_name}")
def test_sudo_takes_the_file_notice_of(app: App) -> None:
    """It passes over names with a dot or a tilde, and refuses a file that others may write."""
    [file] = [file for path, file in files(HOST, app).items() if path.parent == Path("/etc/sudoers.d")]
    assert not re.search(r"[.~]", file.path.name)
    assert (file.mode, file.owner, file.group) == (0o440, "root", "root")
    assert file.check == ("visudo", "-c", "-q", "-f")


def test_verbs_follow_the_handover() -> None:
    assert services(BLOG) == [(SYSTEMCTL, "restart", "blog.service")]
    assert services(FOREIGN) == [(SYSTEMCTL, "restart", "wiki.service")]
    assert services(ADOPTED) == [(SYSTEMCTL, "restart", "old.service")]
    assert {rule[2] for rule in services(SHOP)} == {"shop-blue.service", "shop-green.service"}


def services(app: App) -> list[tuple[str, ...]]:
    """Return the rules for an app's services, without those for its phases."""
    units = {in_use_unit(app), *(phase_unit(app, phase) for phase in phases_of(app))}
    return [rule for rule in allowed(app) if rule[-1] not in units]
