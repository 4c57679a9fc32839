"""Who may read and change what: hookd's own code and configuration are root's alone, secrets are nobody else's."""

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.apps.git_access import worker_command_line
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, unknown, warning
from units.system import disk, layout

GOOD: Final = "nobody but root can change what root runs and reads, and secrets are closed"
GOOD_APP: Final = "its secret, key and files are there, with the right modes"
_MAX_SHOWN: Final = 5
_MIN_SECRET_BYTES: Final = 16
_DAY: Final = 86_400


@dataclass(frozen=True)
class UnsafeFile:
    """Something that stands somewhere, and what is wrong with it."""

    path: Path
    wrong: str


def check(_subject: HostContext) -> Iterator[Finding]:
    """Look at hookd's own code and configuration."""
    for root in (layout.CODE, layout.ETC, layout.COMMAND):
        yield from _check_root_tree(root)
    closed = (
        layout.TOKEN,
        layout.WORKER_ENVIRONMENT,
        *_list_directory(layout.PASSWORDS),
        *_list_directory(layout.SECRETS),
    )
    for path in closed:
        yield from check_secret_file(path)


def _list_directory(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []  # That it is missing says the comparison with set-up.


def _check_root_tree(root: Path) -> Iterator[Finding]:
    """Name what others can write below a directory that root runs programs from."""
    hidden: list[str] = []
    found = list(find_unsafe_files(root, hidden))
    for one in found[:_MAX_SHOWN]:
        mend = f"sudo chown --no-dereference root:root {one.path} && sudo chmod go-w {one.path}"
        yield error(f"{one.path} {one.wrong}, and root runs or obeys it", mend)
    if len(found) > _MAX_SHOWN:
        mend = f"sudo chown -R --no-dereference root:root {root} && sudo chmod -R go-w {root}"
        yield error(f"{len(found) - _MAX_SHOWN} more below {root} can be changed by others than root", mend)
    if hidden:
        yield unknown(f"{len(hidden)} directories below {root} are closed to you", "sudo hookd doctor")


def find_unsafe_files(root: Path, hidden: list[str]) -> Iterator[UnsafeFile]:
    """Walk a tree without following a link and name what somebody else than root may change."""
    try:
        yield from _check_root_file(root, root.lstat())
    except FileNotFoundError:
        return
    if not root.is_dir():
        return
    for place, directories, files in os.walk(root, onerror=lambda error: hidden.append(str(error.filename))):
        for name in (*directories, *files):
            path = Path(place, name)
            yield from _check_root_file(path, path.lstat())


def _check_root_file(path: Path, found: os.stat_result) -> Iterator[UnsafeFile]:
    if found.st_uid != 0:
        yield UnsafeFile(path, f"belongs to {_user_name(found.st_uid)}")
    elif found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode):
        yield UnsafeFile(path, f"can be written by others than root (mode {stat.S_IMODE(found.st_mode):04o})")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def check_secret_file(path: Path, owner: str = "root") -> Iterator[Finding]:
    """A secret: a plain file of its owner's alone."""
    found = disk.status(path)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        yield error(f"{path} holds a secret and is no plain file", f"sudo rm {path} && sudo hookd setup")
    elif stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        yield error(f"{path} holds a secret, and others may read it (mode {mode:04o})", f"sudo chmod 0600 {path}")
    elif _user_name(found.st_uid) != owner:
        yield error(f"{path} belongs to {_user_name(found.st_uid)}, not to {owner}", f"sudo chown {owner}: {path}")


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Look at an app's secret, its key, its variables and its shared files."""
    yield from _check_webhook_secret(subject, app)
    yield from _check_deploy_key(app)
    for path in {app.build.environment_file, app.service.environment_file} - {None}:
        yield from _check_present(path, "its builds and its service need these variables", f"sudoedit {path}")
    for name in app.shared.files:
        path = app.shared_root / name
        mend = f"{worker_command_line('touch', str(path))}, then fill it"
        yield from _check_present(path, "no deployment can link it", mend)


def _check_present(path: Path | None, why: str, mend: str) -> Iterator[Finding]:
    if path is not None and disk.status(path) is None:
        yield error(f"{path} is missing: {why}", mend)


def _check_webhook_secret(subject: HostContext, app: App) -> Iterator[Finding]:
    path = subject.settings.receiver.secrets / app.name
    found, rotate = disk.status(path), f"sudo hookd secret rotate {app.name}"
    if found is None:
        yield error(f"{app.name} has no webhook secret ({path}): every push is refused", rotate)
        return
    lines = [line.strip() for line in (disk.read(path) or b"").splitlines() if line.strip()]
    if not lines or any(len(line) < _MIN_SECRET_BYTES for line in lines):
        yield error(f"{path} holds no secret of {_MIN_SECRET_BYTES} bytes or more: the receiver does not start", rotate)
    if len(lines) == 2 and subject.now.timestamp() - found.st_mtime > _DAY:
        yield warning(f"{app.name} has had an old and a new secret for more than a day", f"{rotate} --finish")
    if len(lines) > 2:
        yield error(f"{path} holds {len(lines)} secrets, and the receiver takes two at most", f"sudoedit {path}")


def _check_deploy_key(app: App) -> Iterator[Finding]:
    if app.deploy_key is None:
        return
    if disk.status(app.deploy_key) is None:
        why = f"{app.name} has no deploy key ({app.deploy_key}): its repository cannot be read"
        yield error(why, f"sudo hookd app show {app.name} makes a new one, to paste at the git host")
    yield from check_secret_file(app.deploy_key, layout.WORKER)
