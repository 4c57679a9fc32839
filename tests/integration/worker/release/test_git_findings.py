"""Findings of git's fsck in a history: harmless ones are warnings, and the others are the reason of a refusal."""

from pathlib import Path

import pytest

from tests.support.mirrors import Mirror
from tests.support.repository import Repository
from worker.errors import DeployError


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit_and_push({"app.py": "VERSION = 1"})
    return made


# Texts of a commit that old versions of programs wrote, with the finding of fsck.
OLD_COMMITS = {
    "badTimezone": "Ada <ada@example.org> 1300000000 +5",
    "missingSpaceBeforeDate": "Ada <ada@example.org>",
    "missingSpaceBeforeEmail": "Ada<ada@example.org> 1300000000 +0000",
    "badDate": "Ada <ada@example.org> soon +0000",
    "zeroPaddedDate": "Ada <ada@example.org> 01300000000 +0000",
    "badDateOverflow": "Ada <ada@example.org> 99999999999999999999 +0000",
    "missingEmail": "Ada 1300000000 +0000",
}


@pytest.mark.parametrize("finding", OLD_COMMITS)
def test_harmless_text_is_a_warning(tmp_path: Path, repository: Repository, finding: str) -> None:
    tree = repository.git("rev-parse", "HEAD^{tree}").strip()
    text = f"tree {tree}\nauthor {OLD_COMMITS[finding]}\ncommitter Ada <a@example.org> 1300000000 +0000\n\nold\n"
    head = push_object(repository, "commit", text.encode())
    mirror = Mirror(tmp_path, repository)
    assert mirror.checkout.fetch_head() == head
    assert any(finding in line for line in mirror.lines)


def test_padded_modes_are_one_warning(tmp_path: Path, repository: Repository) -> None:
    """Two trees with modes as old versions of GitHub's editor wrote them."""
    blob = bytes.fromhex(repository.git("rev-parse", "HEAD:app.py").strip())
    row = b"100644 app.py\0" + blob
    inner = hash_object(repository, "tree", row)
    outer = [b"040000 " + name + b"\0" + bytes.fromhex(inner) for name in (b"a", b"b")]
    tree = hash_object(repository, "tree", b"".join(outer))
    commit = repository.git("commit-tree", tree, "-m", "old").strip()
    head = push_object(repository, "commit", repository.git("cat-file", "commit", commit).encode())
    mirror = Mirror(tmp_path, repository)
    assert mirror.checkout.fetch_head() == head
    assert len([line for line in mirror.lines if "zeroPaddedFilemode" in line]) == 1
    assert (mirror.written(tmp_path / "out") / "a" / "app.py").read_text() == "VERSION = 1"


@pytest.mark.threat(18)
@pytest.mark.parametrize(
    ("finding", "row"),
    [
        ("hasDotgit", b"40000 .git\0"),
        ("hasDotdot", b"40000 ..\0"),
        ("gitmodulesUrl", b"100644 .gitmodules\0"),
        ("duplicateEntries", b"100644 app.py\0"),
    ],
)
def test_harmful_tree_is_refused(tmp_path: Path, repository: Repository, finding: str, row: bytes) -> None:
    """The reason is git's finding, not its last line."""
    text = b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch\n'
    blob = hash_object(repository, "blob", text if b"modules" in row else b"x")
    tree = hash_object(repository, "tree", b"100644 app.py\0" + bytes.fromhex(blob))
    target = blob if row.startswith(b"100644") else tree
    rows = row + bytes.fromhex(target)
    if finding == "duplicateEntries":
        rows += rows
    outer = hash_object(repository, "tree", rows)
    commit = repository.git("commit-tree", outer, "-m", "bad").strip()
    push_object(repository, "commit", repository.git("cat-file", "commit", commit).encode())
    with pytest.raises(DeployError, match=finding):
        Mirror(tmp_path, repository).checkout.fetch_head()


def hash_object(repository: Repository, kind: str, content: bytes) -> str:
    """Write an object, valid or not, and return its id."""
    file = repository.work.parent / "object"
    file.write_bytes(content)
    return repository.git("hash-object", "--literally", "-t", kind, "-w", str(file)).strip()


def push_object(repository: Repository, kind: str, content: bytes) -> str:
    """Write an object, let the branch lead to it, and return its id."""
    head = hash_object(repository, kind, content)
    repository.git("-c", "transfer.fsckObjects=false", "push", "-q", "-f", "origin", f"{head}:refs/heads/main")
    return head
