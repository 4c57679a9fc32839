"""Changes of an app's paths, in real repositories."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.mirrors import Mirror
from tests.support.repository import Repository

FILES: Mapping[str, str | bytes | None] = {
    "src/app.py": "one",
    "src/deep/er/page.html": "one",
    "docs/guide.md": "one",
    "README.md": "one",
    "uv.lock": "one",
}
SRC = {"include": ["src/**", "uv.lock"]}
NO_DOCS = {"exclude": ["docs", "**/*.md"]}
BOTH = {"include": ["src"], "exclude": ["src/deep/**"]}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository whose first commit serves."""
    made = Repository(tmp_path / "repo")
    made.commit_and_push(FILES, "what serves")
    return made


def changes(directory: Path, repository: Repository, base: str, paths: Mapping[str, Any]) -> bool:
    """Fetch the head as a deployment does and compare it with what serves."""
    mirror = Mirror(directory, repository, paths=paths)
    return mirror.checkout.has_changes(base, mirror.checkout.fetch_head())


def _moved(repository: Repository) -> None:
    repository.git("mv", "src/app.py", "docs/app.py")
    repository.commit_all("moved out")


def _merged(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "feature")
    repository.commit({"src/app.py": "feature"})
    repository.git("checkout", "-q", "main")
    repository.commit({"docs/guide.md": "main"})
    repository.git("merge", "-q", "--no-ff", "-m", "a merge", "feature")


def _made_executable(repository: Repository) -> None:
    (repository.work / "src" / "app.py").chmod(0o755)
    repository.commit_all("a mode")


def _commit(files: Mapping[str, str | bytes | None]) -> Callable[[Repository], object]:
    return lambda repository: repository.commit(files)


@pytest.mark.parametrize(
    ("paths", "change", "expected"),
    [
        (SRC, _commit({"src/app.py": "two"}), True),
        (SRC, _commit({"src/deep/er/page.html": "two"}), True),
        (SRC, _commit({"src/new.py": "new"}), True),
        (SRC, _commit({"src/app.py": None}), True),
        (SRC, _commit({"uv.lock": "two"}), True),
        (SRC, _commit({"README.md": "two", "docs/guide.md": "two", "srcs/x": "near"}), False),
        (SRC, _commit({}), False),
        (SRC, _made_executable, True),
        (SRC, _moved, True),
        (SRC, _merged, True),
        (NO_DOCS, _commit({"README.md": "two", "docs/guide.md": "two", "src/notes.md": "new"}), False),
        (NO_DOCS, _commit({"docs/new/picture.svg": "new"}), False),
        (NO_DOCS, _commit({"README.md": "two", "src/app.py": "two"}), True),
        (NO_DOCS, _moved, True),
        (NO_DOCS, _commit({"docs.py": "near"}), True),
        (BOTH, _commit({"src/deep/er/page.html": "two", "uv.lock": "two"}), False),
        (BOTH, _commit({"src/app.py": "two"}), True),
        ({"include": ["docs"]}, _moved, True),
        ({"include": ["*.md"]}, _commit({"docs/guide.md": "two"}), False),
        ({"include": ["*.md"]}, _commit({"README.md": "two"}), True),
        ({}, _commit({"README.md": "two"}), True),
    ],
)
def test_has_changes(
    tmp_path: Path,
    repository: Repository,
    paths: Mapping[str, Any],
    change: Callable[[Repository], object],
    expected: bool,
) -> None:
    base = repository.head()
    change(repository)
    repository.push()
    assert changes(tmp_path, repository, base, paths) is expected


def test_revert_has_no_changes(tmp_path: Path, repository: Repository) -> None:
    base = repository.head()
    repository.commit({"src/app.py": "two"})
    repository.git("revert", "--no-edit", "HEAD")
    repository.push()
    assert not changes(tmp_path, repository, base, SRC)


@pytest.mark.threat(41)
@pytest.mark.promise(30)
def test_older_change_counts(tmp_path: Path, repository: Repository) -> None:
    """A change among skipped commits counts, however old it is."""
    base = repository.head()
    repository.commit({"docs/guide.md": "two"})
    repository.commit({"src/app.py": "two"})
    repository.commit({"docs/guide.md": "three"})
    repository.push()
    assert changes(tmp_path, repository, base, SRC)


@pytest.mark.parametrize(("files", "expected"), [({"docs/guide.md": "other"}, False), ({"src/app.py": "other"}, True)])
def test_rewritten_history(
    tmp_path: Path, repository: Repository, files: Mapping[str, str | bytes | None], expected: bool
) -> None:
    mirror = Mirror(tmp_path, repository, paths=SRC)
    base = mirror.checkout.fetch_head()
    repository.git("checkout", "-q", "--orphan", "anew")
    repository.commit({**FILES, **files})
    head = repository.push()
    assert mirror.checkout.fetch_head() == head
    assert mirror.checkout.has_changes(base, head) is expected


@pytest.mark.threat(41)
def test_missing_base_has_changes(tmp_path: Path, repository: Repository) -> None:
    """The mirror may lack the commit that serves."""
    mirror = Mirror(tmp_path, repository, paths=SRC)
    base = mirror.checkout.fetch_head()
    shutil.rmtree(tmp_path / "repo")
    anew = Repository(tmp_path / "repo")
    anew.commit_and_push(dict(FILES), "another root")
    shutil.rmtree(mirror.path)
    assert mirror.checkout.has_changes(base, mirror.checkout.fetch_head())
    assert any("bad object" in line for line in mirror.lines)


@pytest.mark.threat(41)
def test_repository_attributes_are_ignored(tmp_path: Path, repository: Repository) -> None:
    ran = tmp_path / "ran"
    repository.commit({".gitattributes": "* diff=evil -text\n*.py binary export-ignore\n"})
    base = repository.push()
    mirror = Mirror(tmp_path, repository, paths=SRC)
    mirror.checkout.fetch_head()
    config = mirror.path / "config"
    config.write_text(f'{config.read_text()}[diff "evil"]\n\tcommand = touch {ran}\n\ttextconv = touch {ran}\n')
    repository.commit_and_push({"src/app.py": "two"})
    assert mirror.checkout.has_changes(base, mirror.checkout.fetch_head())
    assert not ran.exists()
