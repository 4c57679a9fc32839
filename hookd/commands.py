"""Commands that a message names as the next one to type, by the kind of the installation."""

import shlex
from pathlib import Path
from typing import Final

from hookd.config import Config

_UNITS: Final = {"redis": "hookd-redis.service", "serve": "hookd.service", "worker": "hookd-worker@1.service"}


def edit_command(*files: str) -> str:
    """Return the command that edits files, or "" without one."""
    editor = "sudoedit" if all(file.startswith("/etc/") for file in files) else "${EDITOR:-vi}"
    return f"{editor} {shlex.join(files)}" if files else ""


def start_command(program: str, config: Config) -> str:
    """Return the command that starts one of hookd's programs, such as `hookd redis`."""
    if config.is_own:
        return up_command(config)
    return f"sudo systemctl restart {_UNITS[program]}" if config.is_server else f"hookd {program}"


def resume_command(config: Config) -> str:
    """Return the command that resumes a suspended queue."""
    command = f". {shlex.quote(str(config.settings.rq_environment))} && rq resume"
    as_worker = "sudo setsid --wait runuser -u manager -- sh -c "
    return as_worker + shlex.quote(command) if config.is_server else command


def up_command(config: Config) -> str:
    """Return the command that starts an app of `hookd up` again. It names the repository outside of its checkout."""
    name = config.path.parent.name
    url = next((app.repository for app in config.catalogue.apps), "")
    is_here = Path.cwd().is_relative_to(url.removeprefix("file://")) if url.startswith("file://") else False
    repository = ("--repo", url) if url and not is_here else ()
    is_named = url.rstrip("/").rpartition("/")[2].removesuffix(".git") == name
    return shlex.join(("hookd", "up", *repository, *(() if is_named else ("--name", name))))
