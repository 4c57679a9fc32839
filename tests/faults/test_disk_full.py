"""A full disk at any step of a deployment: the app serves on, and later nothing is left over."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status
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
    """A hookd whose apps and state are on a small disk."""
    directory = tmp_path_factory.mktemp("disk")
    with small_disk(directory), FaultHost(directory, handover=request.param) as host:
        yield host


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Mount one small disk for `srv` and `state`."""
    disk = directory / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("root cannot mount on this machine")
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
        """The used bytes and inodes."""
        usage = os.statvfs(self.path)
        return (usage.f_blocks - usage.f_bfree) * usage.f_frsize, usage.f_files - usage.f_ffree

    @contextmanager
    def of(self, options: str) -> Iterator[None]:
        """Change the size during the block."""
        self._remount(options)
        yield
        self._remount(ROOMY)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fill the disk during the block."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as stream, suppress(OSError):
            while stream.write(b"x" * 4096):
                pass
        yield
        filler.unlink()

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


def commit(host: FaultHost) -> None:
    """Push a version that needs a new environment."""
    host.commit(**{"requirements.txt": f"{REQUIREMENTS}# {host.versions}\n"})


def checked_ending(host: FaultHost, deployment: Deployment, before: Path) -> Status:
    """Check that a failed deployment changed nothing and a successful one serves, and return the status.

    A restarted healthy service stays if the journal could not record it.
    """
    record = host.site.wait_for_ending(deployment.id)
    serving, pages = host.site.current(APP), answers(host)
    is_recorded = "the journal cannot be written" not in (record.cause or "")
    assert is_recorded or (host.handover, record.status) == ("restart", Status.ROLLBACK_FAILED), record
    if record.status in RETRYABLE_ENDINGS and is_recorded:
        assert serving == before, record
        assert f"v{host.versions}" not in pages, record
    else:
        assert record.status is Status.SUCCEEDED or not is_recorded, record
        assert pages == {f"v{host.versions}"}, record
    return record.status


def answers(host: FaultHost) -> set[str]:
    """Return the answers to more visitors than one release can serve at a time."""
    with visitors(host.site.ports[APP], 4) as crowd:
        crowd.wait_for_more(40)
    return crowd.pages


def deploy_with_room(host: FaultHost) -> None:
    """Deploy the head with free space, and check that nothing is left of failed deployments."""
    host.deliver()
    host.wait_until_head_serves()
    wait_for(lambda: not leftovers(host), what="the end of leftovers")


@pytest.mark.threat(30)
def test_disk_of_each_size(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Try sizes from the space before a deployment up to its need, in bytes and in inodes."""
    disk = Disk(host)
    before = disk.used
    commit(host)
    host.deliver()
    host.wait_until_head_serves()
    needs = [after - earlier for after, earlier in zip(disk.used, before, strict=True)]
    statuses = []
    for _ in range(dice.rounds(1)):
        for number, option in dice.some(((0, "size"), (1, "nr_inodes")), 1):
            current = host.site.current(APP)
            # Half of the tries meet the last tenth, which has the links and the journal.
            share = dice.chance.choice((dice.chance.uniform(0, 0.9), dice.chance.uniform(0.9, 1.1)))
            room = (1_100_000 if option == "size" else 2) + int(needs[number] * share)
            with disk.of(f"{option}={disk.used[number] + room}"):
                commit(host)
                statuses.append(checked_ending(host, host.deliver(), current))
            deploy_with_room(host)
    dice.count(
        monitor.summary(
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
        deployment = host.deliver()
        host.wait_for_step(deployment, step)
        with disk.full():
            statuses.append(checked_ending(host, deployment, current))
        deploy_with_room(host)
    dice.count(
        monitor.summary(
            f"{len(steps)} rounds, {statuses.count(Status.FAILED)} failed, a disk full at {', '.join(steps)}"
        )
    )


@pytest.mark.threat(30)
def test_journal_without_disk_space(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    trace = host.site.directory / "trace"
    journal = host.site.config.settings.journal_path(APP)
    argv = (find_strace(), "-qq", "-o", str(trace), "-P", str(journal), "-e", "trace=write,fsync")
    with watched(host, argv):
        host.wait_until_head_serves()
    writes = calls(trace)
    assert len(writes) >= 4
    cases = dice.some(writes, 1)
    for call, number in cases:
        current = host.site.current(APP)
        with watched(host, (*argv, "-e", f"inject={call}:error=ENOSPC:when={number}")):
            checked_ending(host, host.history()[0], current)
            assert INJECTED in trace.read_text()
        deploy_with_room(host)
    dice.count(monitor.summary(f"{len(cases)} rounds, each without room for one of the journal's {len(writes)} writes"))
