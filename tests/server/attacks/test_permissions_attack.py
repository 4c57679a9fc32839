"""Root repairs permissions while the owners swap directories for links. The targets must stay unchanged.

No server is booted here, but a setting of the kernel changes for the whole machine. The lock `KERNEL_LINKS` keeps away
tests that compare this setting, such as one of the doctor.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hookd.model.app import App
from tests.support.hosts import SHARED, WEB, WORKER
from tests.support.server.places import KERNEL_LINKS, locked
from tests.support.tasks import make_app, make_settings
from tests.support.users import NOBODY, open_directory
from units.apps.permissions import check_permissions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can repair for others")
HARD_LINKS = Path("/proc/sys/fs/protected_hardlinks")
WWW_DATA = 33
MEETINGS, MAX_SECONDS, RUNS = 10, 120, 100


@pytest.fixture(params=["0", "1"], ids=["open", "protected"])
def _hard_links(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both settings of the kernel for hard links to files of others."""
    with locked(KERNEL_LINKS):
        before = HARD_LINKS.read_text()
        try:
            HARD_LINKS.write_text(request.param)
        except OSError:
            pytest.skip("the kernel's setting for hard links cannot be changed here")
        yield
        HARD_LINKS.write_text(before)


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as made:
        yield made


@contextmanager
def attacker(user: int, swap: Callable[[], None]) -> Iterator[None]:
    """Repeat an action as another user as fast as possible, and ignore failures."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        while True:
            with suppress(OSError):
                swap()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def swapping(place: Path, target: Path) -> Callable[[], None]:
    """Replace a directory with a link and back, and undo root's repairs in it."""
    aside = place.with_name(f".{place.name}.aside")

    def swap() -> None:
        with suppress(OSError):
            place.rename(aside)
        with suppress(OSError):
            place.symlink_to(target)
        with suppress(OSError):
            place.unlink()
        with suppress(OSError):
            aside.rename(place)
        for file in place.glob("*"):
            if not file.is_symlink():
                file.chmod(0o666)

    return swap


def linking(place: Path, target: Path) -> Callable[[], None]:
    """Link another user's file into the attacker's own tree."""

    def link() -> None:
        with suppress(OSError):
            (place / "taken").unlink()
        os.link(target, place / "taken")

    return link


def tree_of(directory: Path, owner: int) -> Path:
    """Make a directory of a user with files of wrong modes."""
    directory.mkdir(parents=True)
    for number in range(20):
        (directory / f"secret{number}").write_text("x")
        os.chown(directory / f"secret{number}", owner, owner)
    os.chown(directory, owner, owner)
    return directory


@pytest.fixture
def sentinel(directory: Path) -> Path:
    """A directory of root that root must not change."""
    made = tree_of(directory / "sentinel", 0)
    tree_of(made / "one" / "pkg", 0)  # Named like a release with a package.
    for file in (path for path in made.rglob("*") if path.is_file()):
        file.chmod(0o600)
    return made


@pytest.fixture
def app(directory: Path) -> App:
    made = make_app(directory, ownership={"policy": "group", "group": WEB, "user": WEB}, shared=SHARED)
    tree_of(made.root / "releases" / "one" / "pkg", NOBODY)
    tree_of(made.root / "venvs" / "env" / "lib", NOBODY)
    tree_of(made.root / "shared" / "uploads" / "mine", WWW_DATA)
    (made.root / "shared" / ".env").touch()
    for parent in (made.root, *made.root.glob("*"), *made.root.glob("*/*")):
        os.chown(parent, NOBODY, NOBODY)
    return made


def snapshot(tree: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return owner, group, mode and time of change of everything in a directory."""
    found = {str(path): path.lstat() for path in [tree, *tree.rglob("*")]}
    return {name: (one.st_uid, one.st_gid, one.st_mode, one.st_ctime_ns) for name, one in found.items()}


def repair_until_met(app: App, directory: Path) -> int:
    """Repair until root has met a link instead of a directory often enough."""
    met, end = 0, time.monotonic() + MAX_SECONDS
    while met < MEETINGS and time.monotonic() < end:
        report = check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
        met += sum("cannot be read" in str(finding) for finding in report.findings)
    return met


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
@pytest.mark.parametrize("swapped", ["releases", "releases/one", "shared/uploads"])
def test_swapped_directory_is_not_followed(app: App, directory: Path, sentinel: Path, swapped: str) -> None:
    before = snapshot(sentinel)
    with attacker(NOBODY, swapping(app.root / swapped, sentinel)):
        met = repair_until_met(app, directory)
    assert snapshot(sentinel) == before
    assert met >= MEETINGS


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_swap_inside_release_is_not_followed(app: App, directory: Path, sentinel: Path) -> None:
    """Repair a fixed number of times, because links in releases are skipped without a line."""
    before = snapshot(sentinel)
    with attacker(NOBODY, swapping(app.root / "releases" / "one" / "pkg", sentinel)):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert snapshot(sentinel) == before


def leave_files(directory: int) -> None:
    """Give the files of an open directory to root, as a deployment by root left them."""
    for name in os.listdir(directory):
        with suppress(OSError):
            os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_swap_by_app_is_not_followed(app: App, directory: Path, sentinel: Path) -> None:
    """Root gives leftovers to the app meanwhile."""
    mine, repaired = app.data_root / "uploads" / "mine", 0
    before, opened = snapshot(sentinel), os.open(mine, os.O_RDONLY | os.O_DIRECTORY)
    with attacker(WWW_DATA, swapping(mine, sentinel)):
        for _ in range(RUNS):
            leave_files(opened)
            report = check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
            repaired += sum(f"{mine}/secret" in finding.path for finding in report.findings)
    os.close(opened)
    assert snapshot(sentinel) == before
    assert repaired


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_hard_link_among_data_is_refused(app: App, directory: Path, sentinel: Path) -> None:
    mine = app.data_root / "uploads" / "mine"
    before = {name: entry[:3] for name, entry in snapshot(sentinel).items()}
    with attacker(WWW_DATA, linking(mine, sentinel / "secret0")):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert {name: entry[:3] for name, entry in snapshot(sentinel).items()} == before


@pytest.mark.usefixtures("_hard_links")
def test_second_link_among_data(app: App, directory: Path, sentinel: Path) -> None:
    stolen = app.data_root / "uploads" / "mine" / "stolen"
    os.link(sentinel / "secret0", stolen)
    assert "it has a second name" in line_about(stolen, app, directory)
    assert (stolen.stat().st_uid, stolen.stat().st_mode & 0o777) == (0, 0o600)


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_foreign_hard_link_is_refused(app: App, directory: Path, sentinel: Path) -> None:
    victim = sentinel / "secret0"
    before = {name: entry[:3] for name, entry in snapshot(sentinel).items()}
    with attacker(NOBODY, linking(app.root / "releases" / "one" / "pkg", victim)):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert {name: entry[:3] for name, entry in snapshot(sentinel).items()} == before


def line_about(path: Path, app: App, directory: Path) -> str:
    """Return the line of the repair about a path."""
    report = check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    return next(str(finding) for finding in report.findings if finding.path == str(path))


@pytest.mark.usefixtures("_hard_links")
def test_second_link_to_a_foreign_file(app: App, directory: Path, sentinel: Path) -> None:
    stolen = app.root / "releases" / "one" / "pkg" / "stolen"
    os.link(sentinel / "secret0", stolen)
    assert "it has a second name" in line_about(stolen, app, directory)
    assert (stolen.stat().st_uid, stolen.stat().st_mode & 0o777) == (0, 0o600)
