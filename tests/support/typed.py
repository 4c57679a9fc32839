"""Types a command of hookd's as a person does, and sees to it that no mistake ends in a traceback."""

import subprocess

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
