"""Types a command of hookd's as a person does, and sees to it that no mistake ends in a traceback."""

import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from hookd.cli import main
from tests.support.installation import Installation
from tests.support.processes import python


def hookd(installation: Installation, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `hookd ARGUMENTS` with the configuration of an installation."""
    done = subprocess.run(
        python("-m", "hookd.cli", *arguments),
        env=installation.environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def typed(config: Path, *arguments: str) -> Result:
    """Run a command in this very process, which starts no program and opens no terminal."""
    done = CliRunner().invoke(main, arguments, env={"HOOKD_CONFIG": str(config)})
    assert isinstance(done.exception, SystemExit | None), (arguments, done.exception)
    return done
