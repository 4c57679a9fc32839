"""The files of a commit: unusual names, links, submodules, hooks and filters."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.mirrors import Mirror, content
from tests.support.repository import Repository
from worker.errors import CommitRefused, DeployError
from worker.release import git_mirror


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_files_are_written_unchanged(tmp_path: Path, repository: Repository, out: Path) -> None:
    files: dict[str, str | bytes | None] = {"app.py": "x\r\n", "deep/er/data.bin": bytes(range(256)), "empty": ""}
    repository.commit_and_push(files)
    Mirror(tmp_path, repository).written(out)
    assert content(out) == {"app.py": b"x\r\n", "deep/er/data.bin": bytes(range(256)), "empty": b""}
    assert not (out / ".git").exists()


def test_no_files_of_older_commit(tmp_path: Path, repository: Repository) -> None:
    mirror = Mirror(tmp_path, repository)
    repository.commit_and_push({"old.py": "1", "both.py": "1"})
    mirror.written(tmp_path / "one")
    repository.commit_and_push({"old.py": None, "both.py": "2"})
    assert content(mirror.written(tmp_path / "two")) == {"both.py": b"2"}


MANY = 50_000
ODD = ["new\nline", "quo'te\"s", "größe ✓.txt", "-rf", "--output=x", " lead and trail ", "tab\there", "$(touch ran)"]


@pytest.mark.threat(60)
def test_unusual_file_names(tmp_path: Path, repository: Repository, out: Path) -> None:
    repository.commit_and_push({name: name for name in ODD})
    mirror = Mirror(tmp_path, repository)
    entries = mirror.checkout.list_tree(mirror.checkout.fetch_head())
    assert sorted(entry.path for entry in entries) == sorted(ODD)
    assert content(mirror.written(out)) == {name: name.encode() for name in ODD}


@pytest.mark.threat(60)
def test_reject_too_long_listing(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_mirror, "_MAX_LISTING_BYTES", 1000)
    repository.commit_and_push({f"file-{number}": "" for number in range(20)})
    checkout = Mirror(tmp_path, repository).checkout
    head = checkout.fetch_head()
    with pytest.raises(CommitRefused, match="list of the commit's files exceeds"):
        checkout.list_tree(head)


@pytest.mark.threat(60)
def test_reject_non_utf8_name(tmp_path: Path, repository: Repository) -> None:
    (repository.work / os.fsdecode(b"caf\xe9")).write_text("x")
    repository.commit_all()
    repository.push()
    mirror = Mirror(tmp_path, repository)
    head = mirror.checkout.fetch_head()
    with pytest.raises(CommitRefused, match="a file name that is not UTF-8"):
        mirror.checkout.list_tree(head)


def test_links_and_modes(tmp_path: Path, repository: Repository, out: Path) -> None:
    repository.commit({"run.sh": "#!/bin/sh\n", "plain": "x"})
    (repository.work / "run.sh").chmod(0o755)
    (repository.work / "link").symlink_to("plain")
    (repository.work / "away").symlink_to("/etc/passwd")
    repository.commit_all()
    repository.push()
    mirror = Mirror(tmp_path, repository)
    mirror.written(out)
    assert os.readlink(out / "link") == "plain"
    assert os.readlink(out / "away") == "/etc/passwd"
    assert (out / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (out / "plain").stat().st_mode & stat.S_IXUSR
    entries = mirror.checkout.list_tree(mirror.checkout.fetch_head())
    assert [entry.path for entry in entries if entry.is_link] == ["away", "link"]


@pytest.mark.threat(17)
def test_submodule_is_not_fetched(tmp_path: Path, repository: Repository, out: Path) -> None:
    inner = Repository(tmp_path / "inner")
    inner.commit_and_push({"secret.py": "x"})
    repository.commit({"app.py": "x"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url, "lib")
    repository.commit_all()
    repository.push()
    mirror = Mirror(tmp_path, repository)
    mirror.written(out)
    entries = mirror.checkout.list_tree(mirror.checkout.fetch_head())
    assert [entry.path for entry in entries if entry.is_submodule] == ["lib"]
    assert (out / "lib").is_dir()
    assert os.listdir(out / "lib") == []


@pytest.mark.threat(17)
def test_no_hook_runs(tmp_path: Path, repository: Repository, out: Path) -> None:
    repository.commit_and_push({"app.py": "1"})
    mirror = Mirror(tmp_path, repository)
    mirror.checkout.fetch_head()
    hooks = mirror.path / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{name}\n")
        (hooks / name).chmod(0o755)
    repository.commit_and_push({"app.py": "2"})
    mirror.written(out)
    assert (out / "app.py").read_text() == "2"
    assert list(tmp_path.glob("ran-*")) == []


@pytest.mark.threat(17)
def test_no_filter_runs(tmp_path: Path, repository: Repository, out: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    repository.commit_and_push(
        {".gitattributes": "*.bin filter=lfs\n*.txt filter=evil\n", "a.bin": pointer, "b.txt": "plain"}
    )
    mirror = Mirror(tmp_path, repository)
    head = mirror.checkout.fetch_head()
    home = tmp_path / "state" / "home" / "shop"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text(f'[filter "evil"]\nsmudge = touch {tmp_path}/ran; cat\n')
    mirror.written(out)
    assert content(out)["a.bin"] == pointer.encode()
    assert content(out)["b.txt"] == b"plain"
    assert not (tmp_path / "ran").exists()
    assert head == repository.head()


def test_export_ignore_is_ignored(tmp_path: Path, repository: Repository, out: Path) -> None:
    """Files that an archive would leave out are written."""
    repository.commit_and_push(
        {".gitattributes": "docs export-ignore\nv export-subst\n", "docs/a": "x", "v": "$Format:%H$"}
    )
    Mirror(tmp_path, repository).written(out)
    assert content(out)["docs/a"] == b"x"
    assert content(out)["v"] == b"$Format:%H$"


@pytest.mark.threat(60)
def test_fifty_thousand_files(tmp_path: Path, repository: Repository, out: Path) -> None:
    argv = ["git", f"--git-dir={repository.bare}", "fast-import", "--quiet"]
    subprocess.run(argv, input=many_files(MANY), check=True)
    mirror = Mirror(tmp_path, repository)
    assert len(mirror.checkout.list_tree(mirror.checkout.fetch_head())) == MANY
    mirror.written(out)
    assert sum(len(files) for _, _, files in os.walk(out)) == MANY
    assert (out / f"d{MANY // 100 - 1}" / f"{MANY - 1}.py").read_text() == f"{MANY - 1}"


def many_files(number: int) -> bytes:
    """Return a commit with many files, a hundred in a directory, as input for `git fast-import`."""
    head = "commit refs/heads/main\ncommitter Ada <ada@example.org> 0 +0000\ndata 4\nmany\n"
    rows = (f"M 100644 inline d{at // 100}/{at}.py\ndata {len(str(at))}\n{at}\n" for at in range(number))
    return (head + "".join(rows)).encode()


@pytest.mark.threat(18)
@pytest.mark.parametrize("name", [".git", "..", ".GIT"])
def test_reject_unsafe_tree(tmp_path: Path, repository: Repository, name: str) -> None:
    blob = repository.commit({"app.py": "x"}) and repository.git("rev-parse", "HEAD:app.py").strip()
    inner = hash_tree(repository, f"100644 blob {blob}\tconfig\n")
    evil = hash_tree(repository, f"040000 tree {inner}\t{name}\n")
    commit = repository.git("commit-tree", evil, "-m", "evil").strip()
    repository.git("-c", "transfer.fsckObjects=false", "push", "-q", "-f", "origin", f"{commit}:refs/heads/main")
    mirror = Mirror(tmp_path, repository)
    with pytest.raises(DeployError):
        mirror.written(tmp_path / "out")
    assert not (tmp_path / "config").exists()
    assert not (tmp_path / "out").exists()


def hash_tree(repository: Repository, listing: str) -> str:
    """Make a tree of any names, valid or not, and return its id."""
    rows = b"".join(_row(line) for line in listing.splitlines())
    file = repository.work.parent / "tree"
    file.write_bytes(rows)
    return repository.git("hash-object", "--literally", "-t", "tree", "-w", str(file)).strip()


def _row(line: str) -> bytes:
    mode, _, rest = line.split(" ", 2)
    identity, name = rest.split("\t")
    return f"{mode.lstrip('0')} {name}".encode() + b"\0" + bytes.fromhex(identity)
