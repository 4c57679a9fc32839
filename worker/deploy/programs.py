"""The programs of an app's configured commands."""

import shutil
from pathlib import Path

from worker.context import Task
from worker.errors import DeployError
from worker.process.run import SYSTEM_PATH


def check_programs(task: Task, release: Path) -> None:
    """Raise DeployError if a program of a configured command does not exist. Later would be too late."""
    path, directory = f"{release / 'venv' / 'bin'}:{SYSTEM_PATH}", task.app.directory_in(release)
    commands = [
        *((("service.command", task.app.service.command),) if task.app.service.command else ()),
        *(("release.commands", command) for command in task.app.release.commands),
        *((f"processes.{name}.command", process.command) for name, process in task.app.processes.items()),
        *((f"timers.{name}.command", timer.command) for name, timer in task.app.timers.items()),
    ]
    for key, (program, *_) in commands:
        if shutil.which(directory / program if "/" in program else program, path=path) is None:
            raise DeployError(f"{key}: there is no program {program} in the environment")
