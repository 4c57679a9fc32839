"""Push to live on a server with systemd, and the time that the units of the build, check and release phase add."""

import json
import time
from pathlib import Path
from statistics import median
from typing import Final

from bench.on_server import catalogued, deployed_shop, succeeded
from bench.report import table, times
from hookd.model.units.phases import (
    BUILD_CACHE,
    build_commands_file,
    build_user,
    check_command,
    output_pipe,
    phase_unit,
    phases_of,
)
from hookd.model.units.systemctl import SUDO, start_phase
from tests.support.server.shop import Shop
from units.system import layout

_MOST_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.01
_EMPTY: Final = ("true",)
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"

Pairs = dict[str, list[tuple[float, float]]]


def server_tables(pushes: int, starts: int) -> str:
    """Boot a server, measure pushes and starts of the phases, and return what to print."""
    empty = json.dumps([_EMPTY])
    with deployed_shop(f"build.commands={empty}", f"release.commands={empty}") as shop:
        systemd = shop.machine.run("systemctl", "--version").stdout.split()[1]
        live = median(_push(shop, f"bench-{number}") for number in range(pushes))
        seen = _phases(shop, starts)
    head = f"a small app on a server with systemd {systemd}, median seconds of {pushes} pushes and {starts} starts"
    return f"{head} of each phase\n\n{_table(live, seen)}"


def _push(shop: Shop, version: str) -> float:
    """Return the seconds from a signed push until nginx passes on the new version's answer."""
    commit = shop.commit(version)
    started = time.monotonic()
    deployment = shop.deliver(commit)
    while shop.page() != version:
        if time.monotonic() > started + _MOST_SECONDS:
            raise SystemExit(f"{version} did not answer within {_MOST_SECONDS:g} s: {shop.record(deployment)}")
        time.sleep(_PAUSE_SECONDS)
    live = time.monotonic() - started
    succeeded(shop, deployment)
    return live


def _phases(shop: Shop, starts: int) -> Pairs:
    """Start each phase through its unit and directly, by turns, on the server itself."""
    app = catalogued(shop)
    release = f"{app.root}/current"
    users = {
        "build": (build_user(app), _EMPTY),
        "check": (app.ownership.user, check_command(app, layout.IN_APP)),
    }
    phases = {}
    for phase in phases_of(app):
        user, direct = users.get(phase, (app.ownership.user, _EMPTY))
        phases[phase] = {"unit": (SUDO, "-n", *start_phase(phase_unit(app, phase))), "user": user, "direct": direct}
    home = {"HOME": str(BUILD_CACHE / app.name / "home"), "PATH": _PATH}
    given = {
        "starts": starts,
        "phases": phases,
        "worker": layout.WORKER,
        "group": app.ownership.group,
        "release": release,
        "path": f"{release}/venv/bin:{_PATH}",
        "pipe": str(output_pipe(app)),
        "build": str(build_commands_file(app)),
        "commands": [{"argv": _EMPTY, "cwd": str(app.root / "next"), "env": home, "files": {}}],
    }
    program = Path(__file__).with_name("start_phases.py").read_text()
    done = shop.machine.run("python3", "-c", program, input=json.dumps(given), timeout=10 + 5 * starts)
    pairs: Pairs = json.loads(done.stdout)
    return pairs


def _table(live: float, seen: Pairs) -> str:
    rows = [_row(name, pairs) for name, pairs in seen.items()]
    rounds = [list(zip(*one, strict=True)) for one in zip(*seen.values(), strict=True)]
    sums = [(sum(through), sum(direct)) for through, direct in rounds]
    added = median(through - direct for through, direct in sums)
    rows.append(_row("these units", sums))
    # The same push without them: what they add is taken off.
    rows.append(("push to live", f"{live:.3f}", f"{live - added:.3f}", f"{added:.3f}", times(live, live - added)))
    return table(("phase", "through units", "directly", "added", "x"), rows)


def _row(name: str, pairs: list[tuple[float, float]]) -> tuple[str, ...]:
    through, direct = median(one for one, _ in pairs), median(one for _, one in pairs)
    added = median(one - other for one, other in pairs)
    return name, f"{through:.3f}", f"{direct:.3f}", f"{added:.3f}", times(through, direct)
