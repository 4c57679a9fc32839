"""A failing git host, a moved branch, a hostile repository: the app serves on, and the head is deployed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Status, Trigger
from hookd.queue.published import AppStatus
from tests.faults.git_host import GitHost, down, endless, refusing, silent, unstable
from tests.faults.host import APP, FaultHost
from tests.faults.monitor import Monitor
from tests.support.dice import Dice
from tests.support.processes import wait_for
from tests.support.repository import Repository

# Time limits of git, usual and for an endless answer.
USUAL, SHORT = 60, 2
TOO_LONG = f"git ran longer than {SHORT} s and was stopped"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the host and of hookd."""
    return tmp_path_factory.mktemp("g")


@pytest.fixture(scope="module")
def git_host(directory: Path) -> Iterator[GitHost]:
    """The host of the app's repository."""
    with GitHost(directory / "host", directory / "repos" / APP / "remote.git") as host:
        yield host


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, directory: Path, git_host: GitHost) -> Iterator[FaultHost]:
    """A hookd whose app has its repository behind ssh."""
    settings = {"worker": {"known_hosts": git_host.known_hosts}}
    app = {"repository": git_host.url, "deploy_key": git_host.key, "limits": {"git_seconds": USUAL}}
    with FaultHost(directory, request.param, settings, **app) as host:
        yield host


# The faults of a git host, each with its reason in the status.
HOST_FAULTS: dict[str, tuple[Callable[[GitHost], AbstractContextManager[None]], str]] = {
    "down": (down, "Connection refused"),
    "silent": (silent, TOO_LONG),
    "endless": (endless, TOO_LONG),
    "unstable": (unstable, "onnection"),
    "refusing": (refusing, "Permission denied"),
}


@pytest.mark.threat(20)
def test_pushes_outlast_git_host_faults(host: FaultHost, git_host: GitHost, monitor: Monitor, dice: Dice) -> None:
    """Deploy the head after several failed deliveries and a push without one."""
    cases = dice.some(list(HOST_FAULTS), 1)
    for name in cases:
        fault, reason = HOST_FAULTS[name]
        serving = host.serving()
        host.site.change_app(APP, limits={"git_seconds": SHORT if reason == TOO_LONG else USUAL})
        with fault(git_host):
            for _ in range(2):
                ended = host.site.wait_for_ending(host.push().id)
                assert ended.status is Status.FAILED
                assert reason in (ended.cause or ""), ended
            host.commit()
            wait_for(lambda: is_reported(host, Verdict.UNREACHABLE), what="the reported reason")
            assert host.serving() == serving
        host.site.change_app(APP, limits={"git_seconds": USUAL})
        host.wait_until_head_serves()
        assert host.history()[0].trigger is Trigger.RECONCILE
    dice.count(monitor.summary(f"{len(cases)} rounds, a git host that is {', '.join(cases)}"))


@pytest.mark.threat(20)
def test_slow_git_host_only_delays(host: FaultHost, git_host: GitHost, monitor: Monitor, dice: Dice) -> None:
    git_host.wire.chunk, git_host.wire.pause = 512, 0.02
    ended = host.site.wait_for_ending(host.push().id)
    assert ended.status is Status.SUCCEEDED
    git_host.wire.chunk, git_host.wire.pause = 65536, 0.0
    host.wait_until_head_serves()
    dice.count(monitor.summary("1 round, a slow git host"))


def is_reported(host: FaultHost, verdict: Verdict) -> bool:
    """Return True if the status names the lag and its reason."""
    view: AppStatus = host.site.status(APP)
    return view.lag is not None and view.lag.verdict is verdict


# Moved branches


def forced(host: FaultHost) -> None:
    """Remove the last two commits during the build of the newest."""
    with host.building():
        repository(host).git("reset", "-q", "--soft", "HEAD~2")
        host.commit()


def rewritten(host: FaultHost) -> None:
    """Replace the history during a build."""
    with host.building():
        repository(host).git("update-ref", "-d", "HEAD")
        host.commit()


def reverted(host: FaultHost) -> None:
    """Move the branch back to the release before, and then forward."""
    before = host.serving()
    host.push()
    host.wait_until_head_serves()
    repository(host).git("reset", "-q", "--hard", "HEAD~1")
    repository(host).push()
    wait_for(lambda: host.serving() == before, what="the older commit")
    host.commit()


def deleted(host: FaultHost) -> None:
    """Delete the branch and create it again."""
    serving = host.serving()
    repository(host).git("push", "-q", "origin", ":refs/heads/main")
    ended = host.site.wait_for_ending(host.deliver().id)
    assert ended.status is Status.FAILED
    assert "main" in (ended.cause or "")
    wait_for(lambda: is_reported(host, Verdict.UNREACHABLE), what="the reported reason")
    assert host.serving() == serving
    host.commit()


BRANCHES = {change.__name__: change for change in (forced, rewritten, reverted, deleted)}


@pytest.mark.threat(59)
def test_moved_branch_is_followed(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Follow a moved branch whose last push has no delivery."""
    repository(host).git("config", "--file", f"{repository(host).bare}/config", "receive.denyDeleteCurrent", "ignore")
    cases = dice.some(list(BRANCHES), 1)
    for name in cases:
        host.push()
        host.wait_until_head_serves()
        BRANCHES[name](host)
        host.wait_until_head_serves()
    dice.count(monitor.summary(f"{len(cases)} rounds, a branch that was {', '.join(cases)}"))


def repository(host: FaultHost) -> Repository:
    return host.site.repositories[APP]


# Hostile repositories


class Trap:
    """A program that leaves a trace."""

    def __init__(self, directory: Path) -> None:
        self.program = directory / "trap"
        self._trace = directory / "triggered"
        self.program.write_text(f"#!/bin/sh\ntouch {self._trace}\ncat\n")
        self.program.chmod(0o755)

    @property
    def has_run(self) -> bool:
        """True if the program ran."""
        return self._trace.exists()


def filters(work: Repository, trap: Path) -> None:
    """Add attributes with filters, and configuration with their programs."""
    write(work, ".gitattributes", "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n")
    write(work, ".gitconfig", f'[filter "evil"]\nsmudge = {trap}\n[core]\nfsmonitor = {trap}\n')
    write(work, ".lfsconfig", f"[lfs]\nurl = ext::{trap}\n")
    write(work, "a.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def hooks(work: Repository, trap: Path) -> None:
    """Add hooks in all places of a tree where git could run them."""
    for place in ("hooks", ".githooks", ".husky"):
        for name in ("post-checkout", "post-index-change", "reference-transaction"):
            write(work, f"{place}/{name}", f"#!/bin/sh\nexec {trap}\n")
            (work.work / place / name).chmod(0o755)


def submodule(work: Repository, trap: Path) -> None:
    """Add a submodule whose address is a command."""
    write(work, ".gitmodules", f'[submodule "s"]\npath = s\nurl = ext::{trap}\n')
    work.git("init", "-q", "s")
    work.git("-C", "s", "commit", "-q", "--allow-empty", "-m", "inside")


def inner_repository(work: Repository, trap: Path) -> None:
    """Add a bare repository to the tree, with configuration that runs a program."""
    write(work, "inner/HEAD", "ref: refs/heads/main\n")
    write(work, "inner/config", f"[core]\nbare = false\nworktree = .\nfsmonitor = {trap}\n")
    write(work, "inner/objects/x", "")
    write(work, "inner/refs/x", "")


def options(work: Repository, trap: Path) -> None:
    """Push branches and tags that look like options."""
    work.git("push", "-q", "origin", f"HEAD:refs/heads/--upload-pack={trap}", f"HEAD:refs/tags/--exec={trap}")


def many_files(work: Repository, trap: Path) -> None:
    """Add fifty thousand files."""
    for directory in range(50):
        (work.work / "many" / str(directory)).mkdir(parents=True)
        for number in range(1000):
            (work.work / "many" / str(directory) / str(number)).touch()


def link(work: Repository, trap: Path) -> None:
    """Add a link that leaves the tree."""
    (work.work / "passwords").symlink_to("/etc/passwd")


def bad_submodule(work: Repository, trap: Path) -> None:
    """Add a submodule that git itself refuses."""
    write(work, ".gitmodules", f'[submodule "s"]\npath = s\nurl = --upload-pack={trap}\n')


def write(work: Repository, name: str, text: str) -> None:
    (work.work / name).parent.mkdir(parents=True, exist_ok=True)
    (work.work / name).write_text(text)


HARMLESS = (filters, hooks, inner_repository, options, many_files)
REFUSED = (link, submodule, bad_submodule)


@pytest.mark.threat(17)
def test_hostile_commit_does_no_harm(host: FaultHost, monitor: Monitor, dice: Dice, tmp_path: Path) -> None:
    """Deploy a hostile commit without running its code, or refuse it. The next good commit goes live."""
    trap = Trap(tmp_path)
    cases = dice.some((*HARMLESS, *REFUSED), 1)
    for plant in cases:
        serving, good = host.serving(), repository(host).head()
        plant(repository(host), trap.program)
        ended = host.site.wait_for_ending(host.push().id)
        assert ended.status is (Status.FAILED if plant in REFUSED else Status.SUCCEEDED), ended
        assert host.serving() == (serving if plant in REFUSED else f"v{host.versions}")
        reset_to(repository(host), good)
        host.push()
        host.wait_until_head_serves()
        assert not trap.has_run
    names = ", ".join(plant.__name__ for plant in cases)
    dice.count(monitor.summary(f"{len(cases)} rounds, hostile: {names}"))


def reset_to(work: Repository, good: str) -> None:
    """Reset to a commit and remove everything after it."""
    work.git("reset", "-q", "--hard", good)
    work.git("clean", "-q", "-ffdx")
