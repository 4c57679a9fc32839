"""The files of a release: those of the commit, of its submodules and of git-lfs, checked before and after."""

from pathlib import Path

from worker.context import Task
from worker.errors import DeployError
from worker.release.checkout import read_checkout
from worker.release.disk_space import check_commit_fits
from worker.release.git_mirror import GitMirror
from worker.release.large_files import replace_pointers
from worker.release.links import reject_escaping_links, reject_reserved_paths, write_revision


def write_files(task: Task, mirror: GitMirror, commit: str, release: Path) -> None:
    """Write the files of a commit into a new directory. Raises DeployError."""
    release.mkdir(parents=True)
    checkout = read_checkout(mirror, commit, task.recorder.line)
    entries = checkout.entries
    reject_reserved_paths(task.app, entries)
    check_commit_fits(task, entries)
    checkout.write(release)
    reject_escaping_links(release, entries)
    replace_pointers(task, checkout, release)
    _check_directory(task, release)
    write_revision(release, commit)


def _check_directory(task: Task, release: Path) -> None:
    """Raise DeployError if the app's directory does not exist, because the configuration may be wrong."""
    if not task.app.directory_in(release).is_dir():
        raise DeployError(f"there is no directory {task.app.service.directory} in the repository (service.directory)")
