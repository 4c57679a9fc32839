"""Root repairs while the owners of the trees swap directories for links: what the links lead to stays as it is.

No server is booted here, but a rule of the kernel is changed for the whole machine. The lock `KERNEL_LINKS` keeps tests
away that compare this rule, as one of the doctor's does.
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
MEETINGS, MOST_SECONDS, RUNS = 10, 120, 100


@pytest.fixture(params=["0", "1"], ids=["anyone-may-link", "links-are-protected"])
def _hard_links(request: pytest.FixtureRequest) -> Iterator[None]:
    """The kernel's rule on hard links to what is someone else's, both ways."""
    with locked(KERNEL_LINKS):
        before = HARD_LINKS.read_text()
        try:
            HARD_LINKS.write_text(request.param)
        except OSError:
            pytest.skip("this machine does not let its rule on hard links be changed")
        yield
        HARD_LINKS.write_text(before)


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as made:
        yield made


@contextmanager
def attacker(user: int, swap: Callable[[], None]) -> Iterator[None]:
    """Someone who repeats the same thing as fast as possible, with whatever success."""
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
    """Put a link where a directory is, put the directory back, and undo what root repaired in it."""
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
    """Give someone else's file a name in one's own tree."""

    def link() -> None:
        with suppress(OSError):
            (place / "taken").unlink()
        os.link(target, place / "taken")

    return link


def tree_of(directory: Path, owner: int) -> Path:
    """A directory with files, all wrong, of the attacker's."""
    directory.mkdir(parents=True)
    for number in range(20):
        (directory / f"secret{number}").write_text("x")
        os.chown(directory / f"secret{number}", owner, owner)
    os.chown(directory, owner, owner)
    return directory


@pytest.fixture
def sentinel(directory: Path) -> Path:
    """What root must not touch: files of root's, in a directory that everyone may enter."""
    made = tree_of(directory / "sentinel", 0)
    tree_of(made / "one" / "pkg", 0)  # It looks like a release, and like a directory of releases.
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


def looks(tree: Path) -> dict[str, tuple[int, int, int, int]]:
    """Owner, group and mode of all below a directory, and when they were last changed."""
    found = {str(path): path.lstat() for path in [tree, *tree.rglob("*")]}
    return {name: (one.st_uid, one.st_gid, one.st_mode, one.st_ctime_ns) for name, one in found.items()}


def repair_until_met(app: App, directory: Path) -> int:
    """Repair again and again until root has often enough met a link where a directory was."""
    met, end = 0, time.monotonic() + MOST_SECONDS
    while met < MEETINGS and time.monotonic() < end:
        report = check_permissions(app, make_settings(directory), fix=True, worker=WORKER, most=1000)
        met += sum("cannot be read" in line for line in report.lines())
    return met


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
@pytest.mark.parametrize("swapped", ["releases", "releases/one", "shared/uploads"])
def test_a_directory_swapped_for_a_link_leads_root_nowhere(
    app: App, directory: Path, sentinel: Path, swapped: str
) -> None:
    before = looks(sentinel)
    with attacker(NOBODY, swapping(app.root / swapped, sentinel)):
        met = repair_until_met(app, directory)
    assert looks(sentinel) == before
    assert met >= MEETINGS


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_a_directory_within_a_release_that_is_swapped_leads_root_nowhere(
    app: App, directory: Path, sentinel: Path
) -> None:
    """A link in a release is passed over in silence, so that meetings cannot be counted."""
    before = looks(sentinel)
    with attacker(NOBODY, swapping(app.root / "releases" / "one" / "pkg", sentinel)):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert looks(sentinel) == before


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_a_directory_that_the_app_swaps_leads_root_nowhere(app: App, directory: Path, sentinel: Path) -> None:
    before = looks(sentinel)
    with attacker(WWW_DATA, swapping(app.data_root / "uploads" / "mine", sentinel)):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert looks(sentinel) == before


@pytest.mark.threat(24)
@pytest.mark.usefixtures("_hard_links")
def test_a_second_name_of_someone_else_s_file_is_worth_nothing(app: App, directory: Path, sentinel: Path) -> None:
    victim = sentinel / "secret0"
    before = {name: look[:3] for name, look in looks(sentinel).items()}
    with attacker(NOBODY, linking(app.root / "releases" / "one" / "pkg", victim)):
        for _ in range(RUNS):
            check_permissions(app, make_settings(directory), fix=True, worker=WORKER)
    assert {name: look[:3] for name, look in looks(sentinel).items()} == before


def line_about(path: Path, app: App, directory: Path) -> str:
    """What root is told of one path when it repairs."""
    report = check_permissions(app, make_settings(directory), fix=True, worker=WORKER, most=1000)
    return next(line for line in report.lines() if line.startswith(f"{path} "))


@pytest.mark.usefixtures("_hard_links")
def test_a_file_whose_first_name_is_gone_is_given_away_only_where_nobody_can_have_linked_it(
    app: App, directory: Path, sentinel: Path
) -> None:
    """What root wrote anew has still its old content under the attacker's name, and that name alone."""
    stolen = app.root / "releases" / "one" / "pkg" / "stolen"
    os.link(sentinel / "secret0", stolen)
    assert "it has a second name" in line_about(stolen, app, directory)
    assert (stolen.stat().st_uid, stolen.stat().st_mode & 0o777) == (0, 0o600)
    (sentinel / "secret0").unlink()
    line = line_about(stolen, app, directory)
    if HARD_LINKS.read_text().strip() == "0":
        assert (stolen.stat().st_uid, stolen.stat().st_mode & 0o777) == (0, 0o600)
        assert "sudo sysctl fs.protected_hardlinks=1" in line
    else:
        assert stolen.stat().st_uid == NOBODY
