"""Access to private packages by `git+ssh`: the app's own deploy key, for the installation alone."""

from pathlib import Path
from typing import Final

from worker.context import Task
from worker.environment.source import Source
from worker.errors import DeployError
from worker.release.git import ssh_command

# In a directory that only this build sees.
_KEY: Final = Path("/tmp/hookd-deploy-key")  # noqa: S108 - The unit has a /tmp of its own.
_HOSTS: Final = Path("/tmp/hookd-known-hosts")  # noqa: S108


def ssh_access(task: Task, source: Source) -> tuple[dict[str, str], dict[str, str]]:
    """Return variables and files with which git reaches the app's repositories. Raises DeployError.

    The user of a build may read no key. So the files are handed to its unit, which writes them as this user into its
    own /tmp. Without a unit the build has the worker's user, who reads the files where they are.
    """
    key, hosts = task.app.deploy_key, task.settings.worker.known_hosts
    if not source.uses_ssh:
        return {}, {}
    if not task.app.uses_systemd:
        return {"GIT_SSH_COMMAND": ssh_command(key, hosts)}, {}
    pairs = ((key, _KEY), (hosts, _HOSTS))
    files = {str(place): _read(path) for path, place in pairs if path is not None}
    command = ssh_command(_KEY if key else None, _HOSTS if hosts else None)
    return {"GIT_SSH_COMMAND": command}, files


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path} cannot be read: {error}") from None
