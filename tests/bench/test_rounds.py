"""Each bench comes to its end: one short round of it, from this checkout, which is no installed package."""

import os
import re
import subprocess

import pytest

from hookd import __version__
from tests.support.processes import PROJECT, python
from tests.support.programs import program
from tests.support.server.needs import can_boot

SCRIPTS = [file for file in sorted((PROJECT / "bench").glob("*.py")) if "print(machine(" in file.read_text()]
BENCHES = [file.stem for file in SCRIPTS]
ON_SERVERS = ("build_beside_site", "memory", "push_to_live")


def test_every_bench_is_tested() -> None:
    done = subprocess.run([PROJECT / "run", "help"], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("  bench NAME")]
    assert sorted(line.partition(": ")[2].split(", ")) == BENCHES


@pytest.mark.parametrize("name", [name for name in BENCHES if name not in ON_SERVERS])
def test_one_short_round(name: str) -> None:
    if name == "floods":
        program("nginx", "nginx-light")
    one_round(name)


def test_units_beside_direct_commands() -> None:
    output = one_round("push_to_live")
    need_server()
    rows = table(output, "phase")
    assert list(rows) == ["build", "check", "release", "these units", "push to live"]
    added = {name: float(through) - float(direct) for name, (through, direct, _, _) in rows.items()}
    assert added == pytest.approx({name: float(cells[2]) for name, cells in rows.items()}, abs=0.002)
    assert added["these units"] == pytest.approx(added["build"] + added["check"] + added["release"], abs=0.004)
    assert 0 < added["push to live"] == pytest.approx(added["these units"], abs=0.002)


def test_site_beside_a_busy_build() -> None:
    need_server()
    rows = table(one_round("build_beside_site"), "site")
    assert list(rows) == ["idle", "beside a build", "the same with weights of 100"]
    assert all(int(answers) >= 200 for answers, *_ in rows.values())
    assert rows["idle"][3] == "1.00x"
    assert [float(cpus) > 0 for *_, cpus in rows.values()] == [False, True, True]


def test_memory_of_each_process() -> None:
    need_server()
    rows = table(one_round("memory"), "service")
    own = [cells for name, cells in rows.items() if name.startswith("hookd") and name != "hookd in all"]
    assert len(own) == 4
    assert sum(float(cells[1]) for cells in own) == pytest.approx(float(rows["hookd in all"][1]), abs=0.3)
    assert rows["hookd in all"][2].endswith("x")


def need_server() -> None:
    """Skip a test where no server can boot, or fail it where one is demanded."""
    if obstacle := can_boot():
        (pytest.fail if os.environ.get("HOOKD_DEMAND_SERVER") == "1" else pytest.skip)(obstacle)


def table(output: str, head: str) -> dict[str, list[str]]:
    """Return the cells of the table whose first head is this one, by the first cell of each row."""
    lines = [re.split("  +", line) for line in output.splitlines()]
    [start] = [number for number, cells in enumerate(lines) if cells[0] == head]
    end = next(number for number, cells in enumerate(lines) if number > start and len(cells) != len(lines[start]))
    return {name: cells for name, *cells in lines[start + 1 : end]}


def one_round(name: str) -> str:
    """Run one short round of a bench, which must name the versions at its end, and return its output.

    A version that the machine's line could not find ended each bench after all its work was done.
    """
    argv = python(str(PROJECT / "bench" / f"{name}.py"), "--once")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"hookd {__version__}" in done.stdout.splitlines()[-1]
    return done.stdout
