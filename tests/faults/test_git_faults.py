"""A git host in trouble, a branch that is not where it was, a hostile repository: the app goes on, the head wins."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hookd.model.app_status import AppStatus
from hookd.model.decision import Verdict
from hookd.model.deployment import Status, Trigger
from hookd.queue.app_status import AppStatusStore
from tests.faults.githost import GitHost, away, dripping, silent, torn, unwilling
from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.support.dice import Dice
from tests.support.processes import wait_for
from tests.support.repository import Repository

# How long git may take, also where its host never comes to an end.
USUAL, HASTY = 60, 2
TOO_LONG = f"git ran longer than {HASTY} s and was stopped"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of it is."""
    return tmp_path_factory.mktemp("g")


@pytest.fixture(scope="module")
def host(directory: Path) -> Iterator[GitHost]:
    """The host of the app's repository."""
    with GitHost(directory / "host", directory / "repos" / APP / "remote.git") as found:
        yield found


@pytest.fixture(scope="module")
def keeper(request: pytest.FixtureRequest, directory: Path, host: GitHost) -> Iterator[Keeper]:
    """A hookd whose app's repository is reached over ssh."""
    settings = {"worker": {"known_hosts": host.known_hosts}}
    app = {"repository": host.url, "deploy_key": host.key, "limits": {"git_seconds": USUAL}}
    with Keeper(directory, request.param, settings, **app) as kept:
        yield kept


# What a git host can do, and what people are told of it.
TROUBLES: dict[str, tuple[Callable[[GitHost], AbstractContextManager[None]], str]] = {
    "away": (away, "Connection refused"),
    "silent": (silent, TOO_LONG),
    "dripping": (dripping, TOO_LONG),
    "breaking off": (torn, "onnection"),
    "refusing the key": (unwilling, "Permission denied"),
}


@pytest.mark.threat(20)
def test_pushes_while_the_git_host_is_in_trouble_go_live_when_it_is_well(
    keeper: Keeper, host: GitHost, ledger: Ledger, dice: Dice
) -> None:
    """Several were told of and failed, the last one was not; nobody says it again."""
    cases = dice.some(list(TROUBLES), 1)
    for name in cases:
        trouble, says = TROUBLES[name]
        serving = keeper.serving()
        keeper.site.change_app(APP, limits={"git_seconds": HASTY if says == TOO_LONG else USUAL})
        with trouble(host):
            for _ in range(2):
                ended = keeper.site.wait_for_ending(keeper.push().id)
                assert ended.status is Status.FAILED
                assert says in (ended.cause or ""), ended
            keeper.commit()
            wait_for(lambda: is_said(keeper, Verdict.UNREACHABLE), what="people who are told")
            assert keeper.serving() == serving
        keeper.site.change_app(APP, limits={"git_seconds": USUAL})
        keeper.wait_until_head_serves()
        assert keeper.history()[0].trigger is Trigger.RECONCILE
    dice.count(ledger.counted(f"{len(cases)} rounds, a git host that is {', '.join(cases)}"))


@pytest.mark.threat(20)
def test_a_slow_git_host_only_delays(keeper: Keeper, host: GitHost, ledger: Ledger, dice: Dice) -> None:
    host.wire.bite, host.wire.pause = 512, 0.02
    ended = keeper.site.wait_for_ending(keeper.push().id)
    assert ended.status is Status.SUCCEEDED
    host.wire.bite, host.wire.pause = 65536, 0.0
    keeper.wait_until_head_serves()
    dice.count(ledger.counted("1 round, a slow git host"))


def is_said(keeper: Keeper, verdict: Verdict) -> bool:
    """Tell whether people are told that the head does not serve, and why."""
    view: AppStatus = AppStatusStore(keeper.site.records.connection).read(APP)
    return view.lag is not None and view.lag.verdict is verdict


# Branches that are not where they were


def forced(keeper: Keeper) -> None:
    """The last two commits are taken back while the newest of them is built."""
    with keeper.building():
        repository(keeper).git("reset", "-q", "--soft", "HEAD~2")
        keeper.commit()


def rewritten(keeper: Keeper) -> None:
    """A history that has nothing in common with the one that is built."""
    with keeper.building():
        repository(keeper).git("update-ref", "-d", "HEAD")
        keeper.commit()


def gone_back(keeper: Keeper) -> None:
    """The branch goes back to what served before, and then on."""
    before = keeper.serving()
    keeper.push()
    keeper.wait_until_head_serves()
    repository(keeper).git("reset", "-q", "--hard", "HEAD~1")
    repository(keeper).push()
    wait_for(lambda: keeper.serving() == before, what="the older commit")
    keeper.commit()


def deleted(keeper: Keeper) -> None:
    """The branch is deleted, and later made again."""
    serving = keeper.serving()
    repository(keeper).git("push", "-q", "origin", ":refs/heads/main")
    ended = keeper.site.wait_for_ending(keeper.tell().id)
    assert ended.status is Status.FAILED
    assert "main" in (ended.cause or "")
    wait_for(lambda: is_said(keeper, Verdict.UNREACHABLE), what="people who are told")
    assert keeper.serving() == serving
    keeper.commit()


BRANCHES = {change.__name__: change for change in (forced, rewritten, gone_back, deleted)}


@pytest.mark.threat(59)
def test_a_branch_that_is_not_where_it_was_is_followed(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    """Nobody tells of what came last."""
    repository(keeper).git(
        "config", "--file", f"{repository(keeper).bare}/config", "receive.denyDeleteCurrent", "ignore"
    )
    cases = dice.some(list(BRANCHES), 1)
    for name in cases:
        keeper.push()
        keeper.wait_until_head_serves()
        BRANCHES[name](keeper)
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"{len(cases)} rounds, a branch that was {', '.join(cases)}"))


def repository(keeper: Keeper) -> Repository:
    return keeper.site.repositories[APP]


# Repositories that want to do harm


class Trap:
    """A program that leaves a trace."""

    def __init__(self, directory: Path) -> None:
        self.program = directory / "trap"
        self._trace = directory / "sprung"
        self.program.write_text(f"#!/bin/sh\ntouch {self._trace}\ncat\n")
        self.program.chmod(0o755)

    @property
    def sprung(self) -> bool:
        """Tell whether it was run."""
        return self._trace.exists()


def filters(work: Repository, trap: Path) -> None:
    """Attributes that ask for filters, and configuration that names them."""
    write(work, ".gitattributes", "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n")
    write(work, ".gitconfig", f'[filter "evil"]\nsmudge = {trap}\n[core]\nfsmonitor = {trap}\n')
    write(work, ".lfsconfig", f"[lfs]\nurl = ext::{trap}\n")
    write(work, "a.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def hooks(work: Repository, trap: Path) -> None:
    """Hooks wherever git could look for them in a tree."""
    for place in ("hooks", ".githooks", ".husky"):
        for name in ("post-checkout", "post-index-change", "reference-transaction"):
            write(work, f"{place}/{name}", f"#!/bin/sh\nexec {trap}\n")
            (work.work / place / name).chmod(0o755)


def submodule(work: Repository, trap: Path) -> None:
    """A submodule whose address is a command."""
    write(work, ".gitmodules", f'[submodule "s"]\npath = s\nurl = ext::{trap}\n')
    work.git("init", "-q", "s")
    work.git("-C", "s", "commit", "-q", "--allow-empty", "-m", "inside")


def inner_repository(work: Repository, trap: Path) -> None:
    """A bare repository within the tree, whose configuration runs a program."""
    write(work, "inner/HEAD", "ref: refs/heads/main\n")
    write(work, "inner/config", f"[core]\nbare = false\nworktree = .\nfsmonitor = {trap}\n")
    write(work, "inner/objects/x", "")
    write(work, "inner/refs/x", "")


def options(work: Repository, trap: Path) -> None:
    """Branches and tags that read as options."""
    work.git("push", "-q", "origin", f"HEAD:refs/heads/--upload-pack={trap}", f"HEAD:refs/tags/--exec={trap}")


def crowd(work: Repository, trap: Path) -> None:
    """Fifty thousand files."""
    for directory in range(50):
        (work.work / "crowd" / str(directory)).mkdir(parents=True)
        for number in range(1000):
            (work.work / "crowd" / str(directory) / str(number)).touch()


def link(work: Repository, trap: Path) -> None:
    """A link that leaves the tree."""
    (work.work / "passwords").symlink_to("/etc/passwd")


def bad_submodule(work: Repository, trap: Path) -> None:
    """A submodule that git itself does not let in."""
    write(work, ".gitmodules", f'[submodule "s"]\npath = s\nurl = --upload-pack={trap}\n')


def write(work: Repository, name: str, text: str) -> None:
    (work.work / name).parent.mkdir(parents=True, exist_ok=True)
    (work.work / name).write_text(text)


HARMLESS = (filters, hooks, submodule, inner_repository, options, crowd)
REFUSED = (link, bad_submodule)


@pytest.mark.threat(17)
def test_a_hostile_commit_between_two_good_ones_does_no_harm(
    keeper: Keeper, ledger: Ledger, dice: Dice, tmp_path: Path
) -> None:
    """It serves without having run anything, or what was there serves on; the next good one goes live."""
    trap = Trap(tmp_path)
    cases = dice.some((*HARMLESS, *REFUSED), 1)
    for plant in cases:
        serving, good = keeper.serving(), repository(keeper).head()
        plant(repository(keeper), trap.program)
        ended = keeper.site.wait_for_ending(keeper.push().id)
        assert ended.status is (Status.FAILED if plant in REFUSED else Status.SUCCEEDED), ended
        assert keeper.serving() == (serving if plant in REFUSED else f"v{keeper.versions}")
        take_back(repository(keeper), good)
        keeper.push()
        keeper.wait_until_head_serves()
        assert not trap.sprung
    names = ", ".join(plant.__name__ for plant in cases)
    dice.count(ledger.counted(f"{len(cases)} rounds, hostile: {names}"))


def take_back(work: Repository, good: str) -> None:
    """Go back to a commit, and leave nothing of what came after it."""
    work.git("reset", "-q", "--hard", good)
    work.git("clean", "-q", "-ffdx")
