"""The units of an app's phases: the command lines, as systemd would run them."""

import shlex
import subprocess
from pathlib import Path

from tests.support.processes import PROJECT
from tests.support.rendered import HOST, make_entry, unit
from units.system import layout

_COMMAND = ["printf", "%s-", 'a "b', "$HOME", "50%", "\\n", "c'd"]


def test_one_sandbox_per_command() -> None:
    app = make_entry("shop", {"units": "hookd"}, "unix:/run/shop.sock:/", release={"commands": [_COMMAND, ["true"]]})
    first, second = unit(HOST, "shop-release.service", app)["ExecStart"]
    assert run(first) == f"$ {' '.join(_COMMAND)}\n" + "".join(f"{word}-" for word in _COMMAND[2:])
    assert run(second) == "$ true\n"


def run(line: str) -> str:
    """Run a command line after systemd's unquoting, and return its output."""
    here = line.replace(str(layout.CODE_PATH), str(PROJECT))
    argv = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(here)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


def test_programs_know_their_release(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "000007-abc"
    release.mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/000007-abc")
    assert show_release(tmp_path / "current") == "000007-abc \n", "an older release without its file"
    (release / "REVISION").write_text("0a1b2c $(date)\n")
    assert show_release(tmp_path / "current") == "000007-abc 0a1b2c $(date)\n"


def show_release(directory: Path) -> str:
    """Return the variables of a program that is started in a directory."""
    show = ("sh", "-c", 'echo "$HOOKD_RELEASE $HOOKD_COMMIT"')
    argv = ("/bin/sh", str(PROJECT / "units" / "in_release.sh"), *show)
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True, timeout=20).stdout
