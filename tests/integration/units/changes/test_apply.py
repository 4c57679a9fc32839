"""Plans on a real disk: differences, the manifest, and interruptions."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.support.users import needs_root
from units.changes.apply import Installer
from units.changes.change import Absent, Changes, Directory, Existing, File, Link, Run
from units.changes.manifest import Manifest, Resource
from units.system.errors import Refused
from units.system.run import CommandFailed

pytestmark = needs_root


class Place:
    """A directory with a manifest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.printed: list[str] = []

    @property
    def manifest(self) -> Manifest:
        """Read the manifest from disk."""
        return Manifest.load(self.directory / "manifest.json")

    def installer(self, scope: str = "host", *, dry_run: bool = False) -> Installer:
        """Return an installer as a new process would have it."""
        return Installer(self.manifest, scope, self.printed.append, dry_run=dry_run)

    def file(self, name: str, text: str = "text", mode: int = 0o644, existing: Existing = "correct") -> File:
        """Return a file of root's in the directory."""
        return File(self.directory / name, text, mode=mode, existing=existing)

    def reload(self, name: str, after: str) -> Run:
        """Return a command that appends a line to a file."""
        script = f"echo ran >> {self.directory / name}"
        return Run(("sh", "-c", script), "reloads", after=(self.directory / after,))

    def lines(self, name: str) -> int:
        """Return how often such a command ran."""
        path = self.directory / name
        return len(path.read_text().splitlines()) if path.exists() else 0


ALWAYS = Run(("true",), "always")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_second_run_changes_nothing(place: Place) -> None:
    changes: Changes = (
        Directory(place.directory / "etc", "root", "root", 0o750),
        place.file("etc/one"),
        Link(place.directory / "etc" / "link", Path("one")),
        place.reload("reloads", "etc"),
    )
    assert place.installer().apply(changes) == 3
    assert place.installer().apply(changes) == 0
    assert place.lines("reloads") == 1
    assert stat.S_IMODE((place.directory / "etc").stat().st_mode) == 0o750


@pytest.mark.parametrize("spoil", ["text", "mode", "owner", "gone"])
def test_changed_file_is_corrected(place: Place, spoil: str) -> None:
    changes: Changes = (place.file("one", mode=0o640), place.reload("reloads", "one"))
    place.installer().apply(changes)
    path = place.directory / "one"
    match spoil:
        case "text":
            path.write_text("other")
        case "mode":
            path.chmod(0o666)
        case "owner":
            os.chown(path, 65_534, 0)
        case "gone":
            path.unlink()
    assert place.installer().apply(changes) == 1
    assert changes[0].is_present()
    assert place.lines("reloads") == 2


def test_interrupted_command_runs_next_time(place: Place) -> None:
    """The file is correct by then. Only the manifest knows about the pending command."""
    failing = Run(("false",), "fails", after=(place.directory / "one",))
    changes: Changes = (place.file("one"), failing, place.reload("reloads", "one"))
    with pytest.raises(CommandFailed, match="false ended with 1"):
        place.installer().apply(changes)
    assert place.lines("reloads") == 0
    place.installer().apply((changes[0], changes[2]))
    assert place.lines("reloads") == 1
    place.installer().apply((changes[0], changes[2]))
    assert place.lines("reloads") == 1


def test_foreign_file_is_not_replaced(place: Place) -> None:
    (place.directory / "one").write_text("a person's")
    with pytest.raises(Refused, match="one exists and is not hookd's"):
        place.installer().check((place.file("one"), place.file("two")))
    assert not (place.directory / "two").exists()


def test_own_file_may_change(place: Place) -> None:
    place.installer().apply((place.file("one"),))
    place.installer().check((place.file("one", "newer"),))


def test_existing_file_is_kept(place: Place) -> None:
    (place.directory / "one").write_text("edited")
    changes: Changes = (place.file("one", existing="keep"),)
    place.installer().check(changes)
    assert place.installer().apply(changes) == 0
    assert (place.directory / "one").read_text() == "edited"
    assert not place.manifest.resources


def test_failed_check_writes_no_file(place: Place) -> None:
    bad = File(place.directory / "sudoers", "nonsense (\n", mode=0o440, check=("visudo", "-c", "-q", "-f"))
    with pytest.raises(CommandFailed, match="visudo"):
        place.installer().apply((bad,))
    assert not bad.path.exists()


def test_existing_directories_are_no_resources(place: Place) -> None:
    (place.directory / "there").mkdir()
    place.installer().apply(
        (
            Directory(place.directory / "there", "root", "root", 0o755),
            Directory(place.directory / "new", "root", "root", 0o755),
            Directory(place.directory / "data", "root", "root", 0o755, removal="keep"),
        )
    )
    assert place.manifest.resources == [
        Resource("host", "directory", str(place.directory / "new")),
        Resource("host", "kept directory", str(place.directory / "data")),
    ]


def test_manifest_records_before_creation(place: Place) -> None:
    with pytest.raises(CommandFailed):
        place.installer().apply((File(place.directory / "one", "text", check=("false",)),))
    assert place.manifest.has("file", str(place.directory / "one"))
    assert not (place.directory / "one").exists()


def test_obsolete_files_are_found_and_forgotten(place: Place) -> None:
    place.installer("app:shop").apply((place.file("one"), place.file("two")))
    place.installer("app:blog").apply((place.file("three"),))
    installer = place.installer("app:shop")
    assert installer.obsolete_files((place.file("one"),)) == [place.directory / "two"]
    installer.apply((Absent(place.directory / "two"),))
    assert [Path(thing.name).name for thing in place.manifest.resources] == ["one", "three"]


@pytest.mark.threat(71)
def test_directories_with_data_stay(place: Place) -> None:
    own, full, empty = (place.directory / name for name in ("own", "full", "empty"))
    place.installer().apply(
        (
            Directory(own, "root", "root", 0o755),
            Directory(full, "root", "root", 0o755, removal="keep"),
            Directory(empty, "root", "root", 0o755, removal="keep"),
        )
    )
    for directory in (own, full):
        (directory / "file").touch()
    assert place.installer().remove_directories() == [full]
    assert sorted(path.name for path in place.directory.iterdir()) == ["full", "manifest.json"]


def test_dry_run_changes_nothing(place: Place) -> None:
    place.installer().apply((place.file("one"),))
    place.printed = []
    assert place.installer(dry_run=True).apply((place.file("one"), place.file("two"))) == 1
    assert place.printed == [f"+ {place.file('two')}"]
    assert not (place.directory / "two").exists()
    assert not place.manifest.has("file", str(place.directory / "two"))


def test_differences_hold_pending_commands(place: Place) -> None:
    one, reload, other, always = place.file("one"), place.reload("reloads", "one"), place.reload("other", "two"), ALWAYS
    changes: Changes = (one, reload, other, always)
    assert place.installer().differences(changes) == [one, reload, always]
    place.installer().apply(changes)
    assert place.installer().differences(changes) == [always]
    place.manifest.add_pending(other.argv)
    assert place.installer().differences(changes) == [other, always], "an earlier run was interrupted before it"


def test_dry_run_prints_the_same(place: Place) -> None:
    changes: Changes = (
        place.file("one"),
        place.reload("reloads", "one"),
        place.reload("other", "two"),
        place.file("two"),
    )
    place.installer().apply((changes[0],))
    assert place.printed == [f"+ {changes[0]}"]
    place.printed = []
    place.installer(dry_run=True).apply(changes)
    announced, place.printed = place.printed, []
    place.installer().apply(changes)
    assert announced == place.printed == [f"+ {changes[3]}"], "a command that came before its file is run the next time"


def test_repeated_command_runs_once(place: Place) -> None:
    """The same command without a condition covers the one that waits for a change."""
    reload = place.reload("reloads", "one")
    place.installer().apply((place.file("one"), Run(reload.argv, "always"), reload))
    assert place.lines("reloads") == 1


def test_dry_run_keeps_directories(place: Place) -> None:
    own, full, half, empty = (place.directory / name for name in ("own", "full", "half", "empty"))
    kept = (Directory(path, "root", "root", 0o755, removal="keep") for path in (full, half, empty))
    place.installer().apply((Directory(own, "root", "root", 0o755), *kept))
    for directory in (own, full, half):
        (directory / "file").touch()
    place.printed = []
    assert place.installer(dry_run=True).remove_directories([half / "file"]) == [full]
    assert place.printed == [f"- remove     {path}" for path in (empty, half, own)]
    assert all(path.is_dir() for path in (own, full, half, empty))
    assert len(place.manifest.of("host", "directory", "kept directory")) == 4


def test_only_root_reads_the_manifest(place: Place) -> None:
    place.installer().apply((place.file("one"),))
    path = place.directory / "manifest.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["pending"] == []
