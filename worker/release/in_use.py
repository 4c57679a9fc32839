"""The releases in which a process works. On a server a unit of root's looks, which sees the processes of all users."""

from hookd.files.in_use import release_users
from hookd.model.units.phases import in_use_file, in_use_unit
from hookd.model.units.systemctl import start_phase
from worker.context import AppTask
from worker.process.run import run
from worker.process.systemctl import sudo_command

_SECONDS = 60.0


def releases_in_use(task: AppTask) -> set[str]:
    """Return the names of the releases in use. Raises CommandFailed and OSError, after which none may be removed."""
    if not task.app.uses_systemd:
        return set(release_users(str(task.paths.root)))
    run(sudo_command(start_phase(in_use_unit(task.app)), _SECONDS, _SECONDS), lambda line: None)
    return set(in_use_file(task.app).read_text(encoding="utf-8").split())
