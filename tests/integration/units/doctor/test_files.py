"""Access to files on a real disk, without following links."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hookd.config import Config
from hookd.files.ownership.attributes import FileAttributes
from hookd.files.ownership.audit import AuditFinding
from hookd.files.ownership.repair import AttributeMismatch
from hookd.files.safe_open import Unauditable
from hookd.model.catalogue import Catalogue
from hookd.model.settings import Settings
from hookd.model.tables.limits import Limits
from tests.support.apps import app
from tests.support.users import NOBODY, as_nobody, open_directory
from units.apps import permissions
from units.apps.permissions import PermissionReport
from units.doctor.checks.files import check_app_access, check_permissions, check_secret_file, find_unsafe_files
from units.doctor.checks.system import check_free_space
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck

HIS, MINE = FileAttributes(1, 1, 0o640), FileAttributes(0, 0, 0o640)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A tree of root's, closed to writers, with a link to an open directory."""
    with open_directory() as elsewhere:
        (elsewhere / "theirs").write_text("x")
        elsewhere.chmod(0o777)
        root = tmp_path / "opt"
        (root / "deep" / "deeper").mkdir(parents=True)
        (root / "deep" / "file").write_text("x")
        (root / "out").symlink_to(elsewhere)
        yield root


def names(root: Path) -> set[str]:
    return {path.name for path in find_unsafe_files(root, [])}


def test_root_tree_passes(tree: Path) -> None:
    assert names(tree) == set()


@pytest.mark.parametrize("place", [".", "deep", "deep/deeper", "deep/file"])
@pytest.mark.parametrize("mode", [0o757, 0o775])
def test_writable_file_is_found(tree: Path, place: str, mode: int) -> None:
    (tree / place).chmod(mode)
    assert names(tree) == {(tree / place).name}


@pytest.mark.parametrize("place", ["deep", "deep/file", "out"])
def test_foreign_owner_is_found(tree: Path, place: str) -> None:
    os.chown(tree / place, NOBODY, -1, follow_symlinks=False)
    assert find_unsafe_files(tree, []) == {tree / place: "belongs to nobody"}


def test_unreadable_directory_is_counted(tree: Path) -> None:
    (tree / "deep").chmod(0o700)
    tree.parent.chmod(0o755)
    for above in tree.parents:
        above.chmod(above.stat().st_mode | 0o111)
    hidden: list[str] = []

    def count() -> int:
        assert not find_unsafe_files(tree, hidden)
        return len(hidden)

    assert as_nobody(count) == "1"


def test_open_secret_is_reported(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert not list(check_secret_file(secret))
    for mode in (0o640, 0o604):
        secret.chmod(mode)
        (found,) = check_secret_file(secret)
        assert (found.level, found.hint) == ("error", f"sudo chmod 0600 {secret}")
    secret.chmod(0o600)
    os.chown(secret, NOBODY, -1)
    (found,) = check_secret_file(secret)
    assert "belongs to nobody, not to root" in found.message


def test_closed_secret_is_unknown() -> None:
    with open_directory() as directory:
        (directory / "shop").write_text("x" * 32)
        (directory / "shop").chmod(0o600)
        settings = Settings.model_validate({"receiver": {"secrets": str(directory)}})
        config = Config(directory / "hookd.toml", settings, Catalogue())
        context = HostContext(config.path, config, (), {}, datetime.now(UTC), is_root=False)

        def found() -> list[str]:
            with pytest.raises(CannotCheck) as denied:
                list(check_app_access(context, app()))
            return [str(denied.value), str(denied.value.hint)]

        assert as_nobody(found) == str([f"you may not read {directory}/shop", "sudo hookd doctor"])


def test_linked_secret_is_reported(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to("/etc/shadow")
    (found,) = check_secret_file(tmp_path / "secret")
    assert (found.level, "is not a regular file" in found.message) == ("error", True)


@pytest.mark.parametrize(
    ("finding", "hint"),
    [
        (AttributeMismatch("/srv/shop", HIS, MINE), "sudo hookd permissions shop --fix"),
        (AttributeMismatch("/srv/shop", HIS, MINE, "it has a second name"), "sudo hookd permissions shop"),
        (Unauditable("/srv/shop/releases/1/pipe", "special"), "sudo hookd permissions shop"),
    ],
)
def test_only_repairs_are_promised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finding: AuditFinding, hint: str
) -> None:
    report = PermissionReport("shop", "group", (finding,))
    monkeypatch.setattr(permissions, "check_permissions", lambda *_: report)
    config = Config(tmp_path / "hookd.toml", Settings(), Catalogue())
    context = HostContext(config.path, config, (), {}, datetime.now(UTC), is_root=True)
    assert [(one.level, one.hint) for one in check_permissions(context, app())] == [("warning", hint)]


def test_free_space_of_missing_directory(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "yet"
    (found,) = check_free_space(path, Limits(free_mib=2**40))
    disk = os.statvfs(tmp_path)
    words = found.message.split()
    assert (found.level, words[:2]) == ("error", [str(path), "has"])
    assert abs(int(words[2]) - disk.f_bavail * disk.f_frsize // 2**20) < 1024
