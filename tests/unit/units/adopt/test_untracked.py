"""Classification of untracked paths: each one is shared, data, left or unclear."""

import os
from pathlib import Path

import pytest

from units.adopt.discovery.untracked import UntrackedKind, UntrackedPath, classify, fixed_directories


class Project:
    """A directory with untracked files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.untracked: list[str] = []
        self.writable: set[int] = set()

    def file(self, name: str, content: bytes = b"", *, writable: bool = False) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if writable:
            self.writable.add(path.stat().st_ino)
        self.untracked.append(name)

    def directory(self, name: str) -> None:
        (self.root / name).mkdir(parents=True)
        self.untracked.append(f"{name}/")

    def sorted(self, *tracked: str, choices: dict[str, UntrackedKind] | None = None) -> dict[str, str]:
        return {one.path: one.kind for one in self.all(*tracked, choices=choices)}

    def all(self, *tracked: str, choices: dict[str, UntrackedKind] | None = None) -> list[UntrackedPath]:
        fixed = fixed_directories(tracked)
        return [*classify(self.root, self.untracked, fixed, choices or {}, lambda found: found.st_ino in self.writable)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_files_and_directories(project: Project) -> None:
    project.file(".env", writable=True)
    project.file("app/local_settings.py")
    project.directory("uploads")
    project.directory("app/media")
    assert project.sorted("wsgi.py", "app/__init__.py") == {
        ".env": "file",
        "app/local_settings.py": "file",
        "uploads": "data",
        "app/media": "data",
    }


def test_placeholder_directory_is_data(project: Project) -> None:
    project.file("uploads/a.txt")
    project.file("uploads/2024/b.txt")
    project.file("var/log/deep/x.log")
    assert project.sorted("uploads/.gitkeep", "wsgi.py") == {"uploads": "data", "var": "data"}


def test_nested_placeholder_splits_directory(project: Project) -> None:
    """The worker refuses a commit with uploads/2024/.gitkeep if uploads is a link."""
    project.file("uploads/2024/b.txt")
    assert project.sorted("uploads/2024/.gitkeep") == {"uploads/2024": "data"}


def test_generated_paths_are_left(project: Project) -> None:
    project.file("venv/pyvenv.cfg")
    project.untracked[:] = ["venv/"]
    project.directory("app/__pycache__")
    project.directory("node_modules")
    project.file("app/x.pyc")
    os.mkfifo(project.root / "pipe")
    project.untracked.append("pipe")
    assert set(project.sorted("app/__init__.py").values()) == {"left"}


def test_writable_files_need_a_choice(project: Project) -> None:
    project.file("db.sqlite3", writable=True)
    project.file("shop.log", writable=True)
    project.file("notes.txt")
    assert project.sorted() == {"db.sqlite3": "unclear", "shop.log": "unclear", "notes.txt": "file"}
    assert project.sorted(choices={"shop.log": "left", "db.sqlite3": "file"}) == {
        "db.sqlite3": "file",
        "shop.log": "left",
        "notes.txt": "file",
    }


def test_links_to_directories_are_data(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (project.root / "uploads").symlink_to(tmp_path / "elsewhere")
    (project.root / "gone").symlink_to("nowhere")
    project.untracked += ["uploads", "gone"]
    assert project.sorted("elsewhere/x") == {"uploads": "data", "gone": "left"}


def test_reserved_paths_are_ignored(project: Project) -> None:
    for name in ("releases", "venvs"):
        project.directory(name)
    project.file("current")
    assert project.sorted() == {}


def test_choice_covers_its_directory(project: Project) -> None:
    project.file("var/cache/x")
    project.file("var/cache/y")
    project.file("var/data/z")
    assert project.sorted("var/a.py", choices={"var/data": "data", "var/cache": "left"}) == {
        "var/cache": "left",
        "var/data": "data",
    }


def test_every_path_is_classified(project: Project) -> None:
    for number in range(200):
        project.file(f"d{number % 7}/e{number % 3}/{number}.txt")
    found = [one.path for one in project.all("d1/x.py", "d2/e1/y.py")]
    for path in project.untracked:
        assert any(path == one or path.startswith(f"{one}/") for one in found), path
