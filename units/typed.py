"""Files of hookd's that hold what a person typed, variables with their secrets: they outlive an app, and hookd."""

from pathlib import Path

from hookd.contract.names import is_app
from units import disk, layout
from units.adopt import adoption
from units.app_plan import VARIABLES


def variables_of(app: str) -> tuple[Path, ...]:
    """The app's variables, when a person has written any; not as hookd made the file, empty or from an old unit's."""
    path = layout.app_environment(app)
    adopted = adoption.load(app)
    made = {"", VARIABLES.format(name=app).strip(), adopted.environment.strip() if adopted else ""}
    return (path,) if _text(path) not in made else ()


def all_variables() -> tuple[Path, ...]:
    """Those of every app, and the worker's."""
    worker = (layout.WORKER_ENVIRONMENT,) if _text(layout.WORKER_ENVIRONMENT) else ()
    files = sorted(layout.ENVIRONMENTS.iterdir()) if layout.ENVIRONMENTS.is_dir() else []
    return (*(path for file in files if is_app(file.name) for path in variables_of(file.name)), *worker)


def close(files: tuple[Path, ...]) -> None:
    """Give them to root alone: the number of a group that goes is given to another one day."""
    for path in files:
        disk.write(path, disk.read(path) or b"", disk.SECRET)


def _text(path: Path) -> str:
    return (disk.read(path) or b"").decode("utf-8", "replace").strip()
