"""Each bench comes to its end: one short round of it, from this checkout, which is no installed package."""

import subprocess

import pytest

from hookd import __version__
from tests.support.processes import PROJECT, python
from tests.support.programs import program

SCRIPTS = [file for file in sorted((PROJECT / "bench").glob("*.py")) if "print(machine(" in file.read_text()]
BENCHES = [file.stem for file in SCRIPTS]


def test_every_bench_is_tested() -> None:
    done = subprocess.run([PROJECT / "run", "help"], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("  bench NAME")]
    assert sorted(line.partition(": ")[2].split(", ")) == BENCHES


@pytest.mark.parametrize("name", BENCHES)
def test_one_short_round(name: str) -> None:
    """A version that the machine's line could not find ended each bench after all its work was done."""
    if name == "floods":
        program("nginx", "nginx-light")
    argv = python(str(PROJECT / "bench" / f"{name}.py"), "--once")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"hookd {__version__}" in done.stdout.splitlines()[-1]
