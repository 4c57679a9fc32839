"""No room at any stage of a deployment: the app goes on as it was, and nothing is left over once there is room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status
from hookd.model.paths import AppPaths
from tests.faults.host import APP, FaultHost
from tests.faults.leftovers import leftovers
from tests.faults.monitor import Monitor
from tests.faults.strace import INJECTED, calls, find_strace, watched
from tests.support.dice import Dice
from tests.support.installation import REQUIREMENTS
from tests.support.processes import wait_for
from tests.support.users import needs_root
from tests.support.visitors import visitors

HANDOVERS = ("blue-green", "restart")
ROOMY = "size=200m,nr_inodes=20000"
STEPS = (
    "disk_space",
    "fetch",
    "checkout",
    "dependencies",
    "build",
    "preflight",
    "ownership",
    "flush",
    "health",
    "prune",
)

pytestmark = needs_root


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultHost]:
    """A hookd whose apps and state stand on a disk of their own."""
    directory = tmp_path_factory.mktemp("disk")
    with small_disk(directory), FaultHost(directory, handover=request.param) as kept:
        yield kept


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """One small disk, for both `srv` and `state`."""
    disk = directory / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    mounted = [disk]
    try:
        for name in ("srv", "state"):
            (disk / name).mkdir(mode=0o755)
            (directory / name).mkdir()
            subprocess.run(["mount", "--bind", str(disk / name), str(directory / name)], check=True)
            mounted.append(directory / name)
        yield
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", "--lazy", str(place)], check=True)


class Disk:
    """The small disk of a host."""

    def __init__(self, host: FaultHost) -> None:
        self.path = host.site.directory / "disk"

    @property
    def used(self) -> tuple[int, int]:
        """Bytes and inodes."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree

    @contextmanager
    def of(self, options: str) -> Iterator[None]:
        """Give it another size for as long as the block."""
        self._remount(options)
        yield
        self._remount(ROOMY)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room at all for as long as the block."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as stream, suppress(OSError):
            while stream.write(b"x" * 4096):
                pass
        yield
        filler.unlink()

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


def commit(host: FaultHost) -> None:
    """Push a version that needs an environment of its own."""
    host.commit(**{"requirements.txt": f"{REQUIREMENTS}# {host.versions}\n"})


def ended_honestly(host: FaultHost, deployment: Deployment, before: Path) -> Status:
    """See that a deployment that failed changed nothing, and that one that succeeded serves.

    A single service that was well after its restart stays when just that could not be written down.
    """
    record = host.site.wait_for_ending(deployment.id)
    serving, seen = host.site.current(APP), answers(host)
    noted = "the journal cannot be written" not in (record.cause or "")
    assert noted or (host.handover, record.status) == ("restart", Status.ROLLBACK_FAILED), record
    if record.status in RETRYABLE_ENDINGS and noted:
        assert serving == before, record
        assert f"v{host.versions}" not in seen, record
    else:
        assert record.status is Status.SUCCEEDED or not noted, record
        assert seen == {f"v{host.versions}"}, record
    return record.status


def answers(host: FaultHost) -> set[str]:
    """Return the answers to more visitors than one release can serve at a time."""
    with visitors(host.site.ports[APP], 4) as crowd:
        crowd.wait_for_more(40)
    return crowd.pages


def goes_live(host: FaultHost) -> None:
    """With room again, the head is deployed, and of what failed before nothing is left."""
    host.tell()
    host.wait_until_head_serves()
    wait_for(lambda: not leftovers(host), what="the end of what is left over")


@pytest.mark.threat(30)
def test_disk_of_each_size(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """From what was used before a deployment to what it needs, in bytes and in inodes."""
    disk = Disk(host)
    before = disk.used
    commit(host)
    host.tell()
    host.wait_until_head_serves()
    needs = [now - then for now, then in zip(disk.used, before, strict=True)]
    statuses = []
    for _ in range(dice.rounds(1)):
        for number, option in dice.some(((0, "size"), (1, "nr_inodes")), 1):
            current = host.site.current(APP)
            # The last tenth, where links and journal are written, is tried as often as all before it.
            share = dice.chance.choice((dice.chance.uniform(0, 0.9), dice.chance.uniform(0.9, 1.1)))
            room = (1_100_000 if option == "size" else 2) + int(needs[number] * share)
            with disk.of(f"{option}={disk.used[number] + room}"):
                commit(host)
                statuses.append(ended_honestly(host, host.tell(), current))
            goes_live(host)
    dice.count(
        monitor.counted(
            f"{len(statuses)} rounds, each with a disk of another size, {statuses.count(Status.FAILED)} too small"
        )
    )


@pytest.mark.threat(30)
def test_disk_fills_up_at_each_step(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    disk, statuses = Disk(host), []
    steps = dice.some(STEPS, 1)
    for step in steps:
        current = host.site.current(APP)
        commit(host)
        deployment = host.tell()
        host.wait_for_step(deployment, step)
        with disk.full():
            statuses.append(ended_honestly(host, deployment, current))
        goes_live(host)
    dice.count(
        monitor.counted(
            f"{len(steps)} rounds, {statuses.count(Status.FAILED)} failed, a disk full at {', '.join(steps)}"
        )
    )


@pytest.mark.threat(30)
def test_journal_without_disk_space(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    trace = host.site.directory / "trace"
    journal = AppPaths(host.site.root(APP), host.site.config.settings, APP).journal
    argv = (find_strace(), "-qq", "-o", str(trace), "-P", str(journal), "-e", "trace=write,fsync")
    with watched(host, argv):
        host.wait_until_head_serves()
    found = calls(trace)
    assert len(found) >= 4
    cases = dice.some(found, 1)
    for call, number in cases:
        current = host.site.current(APP)
        with watched(host, (*argv, "-e", f"inject={call}:error=ENOSPC:when={number}")):
            ended_honestly(host, host.history()[0], current)
            assert INJECTED in trace.read_text()
        goes_live(host)
    dice.count(monitor.counted(f"{len(cases)} rounds, each without room for one of the journal's {len(found)} writes"))
