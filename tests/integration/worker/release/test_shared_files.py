"""Reserved paths and links of a commit, and the links to shared files."""

import stat
from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from tests.support.tasks import make_app
from worker.errors import CommitRefused, DeployError
from worker.release.links import link_shared, reject_escaping_links, reject_reserved_paths, write_revision
from worker.release.tree import TreeEntry

FILE, LINK, SUBMODULE = "100644", "120000", "160000"


@pytest.fixture
def app(tmp_path: Path) -> App:
    shared = {"files": [".env", "config/local.toml"], "directories": ["uploads", "var/cache"]}
    return make_app(tmp_path, shared=shared)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "srv" / "releases" / "r"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("mode", "path", "point"),
    [
        (FILE, ".env", ".env"),
        (LINK, ".env", ".env"),
        (FILE, ".env/inside", ".env"),
        (FILE, ".env/.gitkeep", ".env"),
        (FILE, "config/local.toml", "config/local.toml"),
        (FILE, "uploads", "uploads"),
        (LINK, "uploads", "uploads"),
        (SUBMODULE, "uploads", "uploads"),
        (FILE, "uploads/photo.jpg", "uploads"),
        (FILE, "uploads/deep/.gitkeep", "uploads"),
        (LINK, "uploads/.gitkeep", "uploads"),
        (FILE, "var/cache/x", "var/cache"),
        (FILE, "var", "var/cache"),
        (LINK, "var", "var/cache"),
        (FILE, "venv/bin/python", "venv"),
        (LINK, "venv", "venv"),
    ],
)
def test_reject_reserved_paths(app: App, mode: str, path: str, point: str) -> None:
    with pytest.raises(CommitRefused) as caught:
        reject_reserved_paths(app, [TreeEntry(FILE, "app.py"), TreeEntry(mode, path)])
    assert caught.value.cause == f"the commit contains {path}, but {point} is the app's own on this server"
    assert caught.value.hint == Hint(HintKind.UNTRACK, point)


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        (FILE, "uploads/.gitkeep"),
        (FILE, "uploads/.gitignore"),
        (FILE, "var/cache/.keep"),
        (FILE, "uploads2/photo.jpg"),
        (FILE, ".env.example"),
        (FILE, "docs/venv"),
        (FILE, "config/other.toml"),
        (SUBMODULE, "var"),
    ],
)
def test_accept_placeholders(app: App, mode: str, path: str) -> None:
    reject_reserved_paths(app, [TreeEntry(mode, path)])


@pytest.mark.threat(18)
@pytest.mark.parametrize(
    ("links", "offender"),
    [
        ({"a": "/etc/passwd"}, "a -> /etc/passwd"),
        ({"a": "../../../etc"}, "a -> ../../../etc"),
        ({"a": ".."}, "a -> .."),
        ({"deep/er/a": "../../.."}, "deep/er/a -> ../../.."),
        ({"b": "deep", "deep/c": "../.."}, "deep/c -> ../.."),
        ({"deep/er/up": "../..", "a": "deep/er/up/.."}, "a -> deep/er/up/.."),
        ({"a": "nowhere/../../x"}, "a -> nowhere/../../x"),
        ({"a": "../release-beside/x"}, "a -> ../release-beside/x"),
    ],
)
def test_reject_escaping_link(release: Path, links: dict[str, str], offender: str) -> None:
    with pytest.raises(CommitRefused) as caught:
        reject_escaping_links(release, make_links(release, links))
    assert caught.value.cause == f"the commit contains a link that leads out of it: {offender}"


def test_reject_absolute_link(release: Path) -> None:
    """The tree gets another name later, so the link would lead out of it."""
    with pytest.raises(CommitRefused, match="a link that leads out of it: a -> /"):
        reject_escaping_links(release, make_links(release, {"a": str(release / "file")}))


@pytest.mark.parametrize(
    "links",
    [
        {"a": "file"},
        {"a": "."},
        {"deep/er/a": "../../file"},
        {"a": "b", "b": "a"},
        {"a": "not-there-yet"},
        {"deep/b": "er", "a": "deep/b/../file"},
    ],
)
def test_inner_link_is_kept(release: Path, links: dict[str, str]) -> None:
    reject_escaping_links(release, make_links(release, links))


def make_links(release: Path, links: dict[str, str]) -> list[TreeEntry]:
    (release / "deep" / "er").mkdir(parents=True)
    (release / "file").write_text("x")
    for path, target in links.items():
        (release / path).symlink_to(target)
    return [TreeEntry(FILE, "file"), *(TreeEntry(LINK, path) for path in links)]


def make_shared(app: App) -> None:
    (app.shared_root / "config").mkdir(parents=True)
    for name in app.shared.files:
        (app.shared_root / name).write_text(name)


def test_link_shared(app: App, release: Path) -> None:
    make_shared(app)
    link_shared(app, release)
    assert (release / ".env").read_text() == ".env"
    assert (release / "config" / "local.toml").read_text() == "config/local.toml"
    (release / "uploads" / "photo").write_text("kept")
    assert (app.data_root / "uploads" / "photo").read_text() == "kept"
    assert (release / "var" / "cache").readlink() == app.data_root / "var" / "cache"


def test_placeholder_is_replaced(app: App, release: Path) -> None:
    make_shared(app)
    (app.data_root / "uploads").mkdir()
    (app.data_root / "uploads" / "photo").write_text("kept")
    (release / "uploads").mkdir()
    (release / "uploads" / ".gitkeep").touch()
    link_shared(app, release)
    assert (release / "uploads" / "photo").read_text() == "kept"


@pytest.mark.parametrize("kind", ["nothing", "file", "link", "directory"])
def test_revision_replaces_the_repository_s(release: Path, tmp_path: Path, kind: str) -> None:
    path, outside = release / "REVISION", tmp_path / "outside"
    outside.write_text("mine")
    match kind:
        case "file":
            path.write_text("7.4")
        case "link":
            path.symlink_to(outside)
        case "directory":
            path.mkdir()
            (path / "notes").touch()
    write_revision(release, "a" * 40)
    assert (path.is_symlink(), path.read_text(), outside.read_text()) == (False, f"{'a' * 40}\n", "mine")


def test_missing_shared_file(app: App, release: Path) -> None:
    make_shared(app)
    (app.shared_root / "config" / "local.toml").unlink()
    with pytest.raises(DeployError, match=r"the shared file config/local\.toml is missing") as caught:
        link_shared(app, release)
    assert str(app.shared_root / "config" / "local.toml") in str(caught.value.hint)


def test_data_directory_is_made_once(app: App, release: Path, tmp_path: Path) -> None:
    make_shared(app)
    link_shared(app, release)
    made = app.data_root / "uploads"
    assert stat.S_IMODE(made.stat().st_mode) == 0o2770
    made.chmod(0o2775)
    (tmp_path / "next").mkdir()
    link_shared(app, tmp_path / "next")
    assert stat.S_IMODE(made.stat().st_mode) == 0o2775


def test_separate_data_root(tmp_path: Path, release: Path) -> None:
    app = make_app(tmp_path, shared={"directories": ["uploads"], "data": tmp_path / "data"})
    link_shared(app, release)
    assert (release / "uploads").readlink() == tmp_path / "data" / "uploads"
