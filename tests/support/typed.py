"""Types a command of hookd's as a person does, and sees to it that no mistake ends in a traceback.

A command runs in the test's own process, because the start of a program costs more than most tests. Tests of signals,
terminals, pipes, homes and the import path start one.
"""

import os
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

from click.testing import CliRunner, Result

from hookd.cli import main
from tests.support.installation import Installation
from tests.support.processes import python


def hookd(installation: Installation, *arguments: str, stdin: str = "") -> "CompletedProcess[str]":
    """Run `hookd ARGUMENTS` with the configuration of an installation."""
    done = typed(installation.config_path, *arguments, stdin=stdin)
    return CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def typed(config: Path, *arguments: str, stdin: str = "") -> Result:
    """Run a command with a configuration file. The result has both streams."""
    done = CliRunner().invoke(main, arguments, input=stdin, env={"HOOKD_CONFIG": str(config)})
    assert isinstance(done.exception, SystemExit | None), (arguments, done.exception)
    return done


def typed_at_home(
    home: Path, *arguments: str, cwd: Path | None = None, seconds: int = 180, script: str = ""
) -> "CompletedProcess[str]":
    """Run `hookd ARGUMENTS` as a person with this home and without a terminal. The output has both streams.

    `script` is the one that started hookd.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
    kept |= {"HOOKD_TYPED": script} if script else {}
    return subprocess.run(
        python("-P", "-m", "hookd.cli", *arguments),
        cwd=cwd or home,
        env={**kept, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
