"""Who may read and change what: hookd's own code and configuration are root's alone, secrets are nobody else's."""

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.apps.git_access import typed_as_worker
from units.doctor.context import Subject
from units.doctor.finding import Finding, error, unknown, warning
from units.system import disk, layout

GOOD: Final = "nobody but root can change what root runs and reads, and secrets are closed"
GOOD_APP: Final = "its secret, key and files are there, with the right modes"
_SHOWN: Final = 5
_SHORTEST_SECRET: Final = 16
_DAY: Final = 86_400


@dataclass(frozen=True)
class Found:
    """Something that stands somewhere, and what is wrong with it."""

    path: Path
    wrong: str


def check(_subject: Subject) -> Iterator[Finding]:
    """Look at hookd's own code and configuration."""
    for root in (layout.CODE, layout.ETC, layout.COMMAND):
        yield from _roots_own(root)
    closed = (layout.TOKEN, layout.WORKER_ENVIRONMENT, *_in(layout.PASSWORDS), *_in(layout.SECRETS))
    for path in closed:
        yield from _closed(path)


def _in(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []  # That it is missing says the comparison with set-up.


def _roots_own(root: Path) -> Iterator[Finding]:
    """Name what others can write below a directory that root runs programs from."""
    hidden: list[str] = []
    found = list(writable(root, hidden))
    for one in found[:_SHOWN]:
        mend = f"sudo chown --no-dereference root:root {one.path} && sudo chmod go-w {one.path}"
        yield error(f"{one.path} {one.wrong}, and root runs or obeys it", mend)
    if len(found) > _SHOWN:
        mend = f"sudo chown -R --no-dereference root:root {root} && sudo chmod -R go-w {root}"
        yield error(f"{len(found) - _SHOWN} more below {root} can be changed by others than root", mend)
    if hidden:
        yield unknown(f"{len(hidden)} directories below {root} are closed to you", "sudo hookd doctor")


def writable(root: Path, hidden: list[str]) -> Iterator[Found]:
    """Walk a tree without following a link and name what somebody else than root may change."""
    try:
        yield from _judge(root, root.lstat())
    except FileNotFoundError:
        return
    if not root.is_dir():
        return
    for place, directories, files in os.walk(root, onerror=lambda error: hidden.append(str(error.filename))):
        for name in (*directories, *files):
            path = Path(place, name)
            yield from _judge(path, path.lstat())


def _judge(path: Path, found: os.stat_result) -> Iterator[Found]:
    if found.st_uid != 0:
        yield Found(path, f"belongs to {_user(found.st_uid)}")
    elif found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode):
        yield Found(path, f"can be written by others than root (mode {stat.S_IMODE(found.st_mode):04o})")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def _closed(path: Path, owner: str = "root") -> Iterator[Finding]:
    """A secret: a plain file of its owner's alone."""
    found = disk.status(path)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        yield error(f"{path} holds a secret and is no plain file", f"sudo rm {path} && sudo hookd setup")
    elif stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        yield error(f"{path} holds a secret, and others may read it (mode {mode:04o})", f"sudo chmod 0600 {path}")
    elif _user(found.st_uid) != owner:
        yield error(f"{path} belongs to {_user(found.st_uid)}, not to {owner}", f"sudo chown {owner}: {path}")


def check_app(subject: Subject, app: App) -> Iterator[Finding]:
    """Look at an app's secret, its key, its variables and its shared files."""
    yield from _secret(subject, app)
    yield from _key(app)
    for path in {app.build.environment_file, app.service.environment_file} - {None}:
        yield from _present(path, "its builds and its service need these variables", f"sudoedit {path}")
    for name in app.shared.files:
        path = app.shared_root / name
        mend = f"{typed_as_worker('touch', str(path))}, then fill it"
        yield from _present(path, "no deployment can link it", mend)


def _present(path: Path | None, why: str, mend: str) -> Iterator[Finding]:
    if path is not None and disk.status(path) is None:
        yield error(f"{path} is missing: {why}", mend)


def _secret(subject: Subject, app: App) -> Iterator[Finding]:
    path = subject.settings.receiver.secrets / app.name
    found, rotate = disk.status(path), f"sudo hookd secret rotate {app.name}"
    if found is None:
        yield error(f"{app.name} has no webhook secret ({path}): every push is refused", rotate)
        return
    lines = [line.strip() for line in (disk.read(path) or b"").splitlines() if line.strip()]
    if not lines or any(len(line) < _SHORTEST_SECRET for line in lines):
        yield error(f"{path} holds no secret of {_SHORTEST_SECRET} bytes or more: the receiver does not start", rotate)
    if len(lines) == 2 and subject.now.timestamp() - found.st_mtime > _DAY:
        yield warning(f"{app.name} has had an old and a new secret for more than a day", f"{rotate} --finish")
    if len(lines) > 2:
        yield error(f"{path} holds {len(lines)} secrets, and the receiver takes two at most", f"sudoedit {path}")


def _key(app: App) -> Iterator[Finding]:
    if app.deploy_key is None:
        return
    if disk.status(app.deploy_key) is None:
        why = f"{app.name} has no deploy key ({app.deploy_key}): its repository cannot be read"
        yield error(why, f"sudo hookd app show {app.name} makes a new one, to paste at the git host")
    yield from _closed(app.deploy_key, layout.WORKER)
