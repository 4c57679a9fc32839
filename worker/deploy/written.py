"""Files that an app wrote into its release: named when the release stops serving, and kept when it is removed."""

from pathlib import Path

from hookd.files.written import outermost, record_files, written_files
from hookd.model.hint import render_hint
from hookd.model.journal import Release, Written
from hookd.model.text import printable
from hookd.model.written import MAX_SHOWN, WrittenFiles
from worker.context import Task


def record_release(task: Task, name: str) -> None:
    """Note the files of a release before the app's first start in it, and remove the records of no release."""
    record_files(task.paths.release(name), task.paths.record(name))
    for record in task.paths.records.iterdir():
        if not task.paths.release(record.stem).exists():
            record.unlink()


def report_written(task: Task, stopped: Release | None) -> None:
    """Name the files that were written into a release that stopped serving. An error is a warning."""
    if stopped is None:
        return
    try:
        _find(task, stopped.name)
    except OSError as error:
        task.recorder.line(f"warning: the files of {stopped.name} were not compared: {error}")


def keep_written(task: Task, name: str) -> None:
    """Keep the files that were written into a release beside the releases, before it is removed. Raises OSError."""
    found = _find(task, name)
    if not found:
        return
    place = task.paths.kept / name
    files = _summary(task, name, found).model_copy(update={"kept": True})
    for path in outermost(found, task.paths.record(name)):
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (task.paths.release(name) / path).rename(target)
    task.journal.add(Written(**task.stamp(), files=files))
    task.recorder.line(f"warning: {files} in {place}")


def forget_written(task: Task) -> None:
    """Forget the files that a person has removed."""
    for old in task.journal.state().written:
        place = (task.paths.kept if old.files.kept else task.paths.releases) / old.files.release
        if not place.exists():
            gone = old.files.model_copy(update={"number": 0, "paths": ()})
            task.journal.add(Written(**task.stamp(), files=gone))


def _find(task: Task, name: str) -> list[str]:
    """Return the files that were written into a release. What is new goes to the log and to the journal."""
    found = written_files(task.paths.release(name), task.paths.record(name))
    if found:
        files = _summary(task, name, found)
        if files not in (old.files for old in task.journal.state().written):
            task.journal.add(Written(**task.stamp(), files=files))
            hint = files.hint(task.app)
            task.recorder.line(f"warning: {files}" + (f"; next: {render_hint(hint, task.app.name)}" if hint else ""))
    return found


def _summary(task: Task, name: str, found: list[str]) -> WrittenFiles:
    places = outermost(found, task.paths.record(name))
    release = task.paths.release(name)
    directories = tuple(path for path in places if _is_directory(release / path))[:MAX_SHOWN]
    shown, shared = (tuple(map(printable, paths)) for paths in (found[:MAX_SHOWN], directories))
    return WrittenFiles(release=name, number=len(found), paths=shown, directories=shared)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
