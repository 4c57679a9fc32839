"""Each command imports only the modules that it uses, because most of its time is the start of Python."""

import subprocess

import pytest

from tests.support.processes import PROJECT, python

HEAVY = {"rq", "flask", "werkzeug", "jinja2", "tomlkit", "units", "worker"}
CODE = """
import sys
from hookd.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *{name.partition(".")[0] for name in sys.modules})
"""


INTERRUPTED = """
import runpy, sys
module, sys.argv[1:] = sys.argv[1], ["status"]
class Finder:
    def find_spec(name, path, target=None):
        if name == module:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder)
runpy.run_module("hookd.cli", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["hookd.cli.main", "hookd.config", "hookd.cli.status"])
def test_early_interrupt_is_quiet(module: str) -> None:
    argv = python("-c", INTERRUPTED, module)
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("command", "loaded"),
    [
        ("status", set()),
        ("logs", set()),
        ("why", set()),
        ("deploy", set()),
        ("redis", set()),
        ("send", set()),
        ("start", {"jinja2", "tomlkit", "units"}),
    ],
)
def test_commands_import_what_they_use(command: str, loaded: set[str]) -> None:
    argv = python("-c", CODE, command, "--help")
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.rpartition("loaded:")[2].split()) == loaded
