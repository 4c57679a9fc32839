"""Comparisons of a server before and after a command, and refused commands."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tests.support.server.machine import Machine

_PYTHON: Final = "/opt/hookd/current/venv/bin/python"
# Forks a hookd command for each line of arguments, because the start of Python costs more than a refusal.
_SCRIPT: Final = """
import json, os, sys
from hookd.cli import main
import units.cli.app.adopt, units.cli.app.commands, units.cli.app.edit, units.cli.setup

answers = []
for arguments in json.load(sys.stdin):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        sys.argv = ["hookd", *arguments]
        main(prog_name="hookd")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    answers.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text))
print(json.dumps(answers))
"""

_PLACES = ("/etc", "/opt", "/root", "/srv", "/usr/local", "/var/lib/hookd", "/var/lib/hookd-setup", "/var/lib/shop")


def snapshot(machine: Machine) -> dict[str, object]:
    """Collect owners and modes of all files, inodes and times in hookd's directories, and starts of units.

    The reconcile service is left out, because it starts twice a minute.
    """
    places = [place for place in _PLACES if machine.path(place).exists()]
    listed = machine.run("find", *places, "!", "-type", "d", "-printf", "%p\t%i %s %T@ %l\n").stdout
    selection = ("--property=Id,InvocationID,UnitFileState,ActiveState", "hookd*", "shop*", "blog*", "nginx*")
    units = [unit.strip() for unit in machine.run("systemctl", "show", *selection).stdout.split("\n\n")]
    return {
        **machine.files(),
        **accounts(machine),
        **dict(line.split("\t", 1) for line in listed.splitlines() if "/hookd-setup/lock" not in line),
        "units": [unit for unit in units if "Id=hookd-reconcile.service" not in unit.splitlines()],
    }


def accounts(machine: Machine) -> dict[str, list[str]]:
    """Return users and groups, with their members, from every file that lists them."""
    names = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    lines = {name: machine.run("cat", f"/etc/{name}").stdout.splitlines() for name in names}
    keep = {"passwd": (0, 5, 6), "group": (0, 3), "shadow": (0,), "gshadow": (0, 2, 3), "subuid": (0,), "subgid": (0,)}
    return {name: sorted(":".join(line.split(":")[n] for n in keep[name]) for line in lines[name]) for name in names}


@contextmanager
def unchanged(machine: Machine) -> Iterator[None]:
    """Fail the test if the block changes anything."""
    before = snapshot(machine)
    yield
    after = snapshot(machine)
    changed = {key: (before.get(key), after.get(key)) for key in {*before, *after} if before.get(key) != after.get(key)}
    assert not changed, changed


def refusals(machine: Machine, commands: Iterable[Sequence[str]], user: str = "root") -> list[str]:
    """Run hookd commands that must be refused without a traceback, and return their messages."""
    lines = list(commands)
    printed = machine.run(_PYTHON, "-P", "-c", _SCRIPT, input=json.dumps(lines), user=user).stdout
    answers: list[tuple[int, str]] = json.loads(printed)
    for arguments, (status, message) in zip(lines, answers, strict=True):
        assert "Traceback" not in message and status == 2, f"hookd {arguments} ended with {status}: {message}"
    return [message for _, message in answers]
