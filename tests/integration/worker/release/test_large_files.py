"""Files that git-lfs stores: written into a release by the real program, or refused without it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.builds import build_head
from tests.support.programs import program
from tests.support.repository import Repository
from worker.errors import CommitRefused, DeployError

CONTENT = b"a large picture\0" * 1000
ATTRIBUTES = "*.png filter=lfs diff=lfs merge=lfs -text\n"


def pointer(content: bytes = CONTENT) -> str:
    """Return a pointer as git-lfs writes it."""
    digest = sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def stored(repository: Repository, content: bytes = CONTENT) -> None:
    """Put a file into the store of a bare repository, where git-lfs pushes it."""
    digest = sha256(content).hexdigest()
    path = repository.bare / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.commit_and_push({"app.py": "x", ".gitattributes": ATTRIBUTES, "static/logo.png": pointer()})
    return made


@pytest.fixture
def git_lfs() -> str:
    return program("git-lfs", "git-lfs")


def release(directory: Path, name: str) -> Path:
    return directory / "srv" / "releases" / name


@pytest.mark.usefixtures("git_lfs")
def test_pointers_are_replaced(tmp_path: Path, repository: Repository) -> None:
    """A file in git itself stays as it is, and so does a pointer that no attribute names."""
    stored(repository)
    repository.commit({"raw.png": b"\x89PNG", "docs/pointer.txt": pointer(), "static/run.png": pointer()})
    (repository.work / "static/run.png").chmod(0o755)
    repository.commit_all()
    repository.push()
    name, log = build_head(tmp_path)
    made = release(tmp_path, name)
    assert (made / "static/logo.png").read_bytes() == CONTENT
    assert (made / "raw.png").read_bytes() == b"\x89PNG"
    assert (made / "docs/pointer.txt").read_text() == pointer()
    assert os.access(made / "static/run.png", os.X_OK)
    assert "2 files of git-lfs, first static/logo.png" in log


@pytest.mark.usefixtures("git_lfs")
def test_unchanged_large_file_is_not_fetched(tmp_path: Path, repository: Repository) -> None:
    """Only the files of the newest commit are kept beside the mirror."""
    stored(repository)
    build_head(tmp_path)
    digest = sha256(CONTENT).hexdigest()
    (repository.bare / "lfs" / "objects" / digest[:2] / digest[2:4] / digest).unlink()
    repository.commit_and_push({"app.py": "y"})
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "static/logo.png").read_bytes() == CONTENT
    stored(repository, b"newer")
    repository.commit_and_push({"static/logo.png": pointer(b"newer")})
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "static/logo.png").read_bytes() == b"newer"
    kept = (tmp_path / "state/mirrors/shop.git/lfs/objects").glob("*/*/*")
    assert [path.name for path in kept] == [sha256(b"newer").hexdigest()]


@pytest.mark.usefixtures("git_lfs")
def test_large_file_of_a_submodule(tmp_path: Path, repository: Repository) -> None:
    inner = Repository(tmp_path / "inner")
    head = inner.commit_and_push({".gitattributes": ATTRIBUTES, "icon.png": pointer(b"icon")})
    stored(inner, b"icon")
    stored(repository)
    repository.add_submodule("theme", inner.url, head)
    repository.commit_index()
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "theme/icon.png").read_bytes() == b"icon"


@pytest.mark.usefixtures("git_lfs")
@pytest.mark.parametrize("content", [None, b"other"])
def test_missing_or_damaged_large_file(tmp_path: Path, repository: Repository, content: bytes | None) -> None:
    if content:
        stored(repository)
        build_head(tmp_path)
        (damaged,) = (tmp_path / "state/mirrors/shop.git/lfs/objects").glob("*/*/*")
        damaged.unlink()  # A hard link to the file of the host.
        damaged.write_bytes(b"\0" * len(CONTENT))
    with pytest.raises(DeployError) as caught:
        build_head(tmp_path)
    assert caught.value.hint == Hint(HintKind.SKIP_LARGE_FILES)
    assert not isinstance(caught.value, CommitRefused)
    if content:  # The next try brings it again.
        name, _ = build_head(tmp_path)
        assert (release(tmp_path, name) / "static/logo.png").read_bytes() == CONTENT


def test_without_git_lfs(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(program("git", "git"))
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(DeployError, match=r"git-lfs stores static/logo\.png") as caught:
        build_head(tmp_path)
    assert caught.value.hint == Hint(HintKind.INSTALL_GIT_LFS)
    assert not isinstance(caught.value, CommitRefused)
    assert repository.head()


def test_pointers_stay(tmp_path: Path, repository: Repository) -> None:
    name, log = build_head(tmp_path, checkout={"lfs": False})
    assert (release(tmp_path, name) / "static/logo.png").read_text() == pointer()
    assert "pointers of git-lfs stay (checkout.lfs): 1 file, first static/logo.png" in log
    assert repository.head()


@pytest.mark.threat(60)
@pytest.mark.usefixtures("git_lfs")
def test_copies_of_a_large_file(tmp_path: Path, repository: Repository) -> None:
    """Each pointer becomes a copy: one file fits, 100 do not."""
    free = os.statvfs(tmp_path)
    part = pointer().replace(f"size {len(CONTENT)}", f"size {free.f_bavail * free.f_frsize // 50}")
    repository.commit_and_push({"static/logo.png": part, **{f"{number}.png": part for number in range(100)}})
    with pytest.raises(DeployError, match="are needed for the files of git-lfs"):
        build_head(tmp_path)


@pytest.mark.threat(60)
@pytest.mark.usefixtures("git_lfs")
def test_huge_large_file(tmp_path: Path, repository: Repository) -> None:
    """The size in a pointer is compared with the disk before anything is fetched."""
    huge = pointer().replace(f"size {len(CONTENT)}", f"size {10**15 - 1}")
    repository.commit_and_push({"static/logo.png": huge})
    with pytest.raises(DeployError, match="are needed for the files of git-lfs"):
        build_head(tmp_path)


class _Server(ThreadingHTTPServer):
    content = CONTENT

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: set[str] = set()


class _Store(BaseHTTPRequestHandler):
    """The API of git-lfs: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md."""

    server: _Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        href = f"http://{self.headers['Host']}/object"
        self.server.asked |= {one["oid"] for one in asked["objects"]}
        objects = [{**one, "actions": {"download": {"href": href}}} for one in asked["objects"]]
        self._answer(json.dumps({"transfer": "basic", "objects": objects}).encode(), "application/vnd.git-lfs+json")

    def do_GET(self) -> None:
        self._answer(self.server.content, "application/octet-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[_Server]:
    """A store for the files of git-lfs."""
    with _Server(("127.0.0.1", 0), _Store) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(server: _Server) -> str:
    """The store's address."""
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.threat(60)
@pytest.mark.usefixtures("git_lfs")
def test_store_sends_too_much(tmp_path: Path, repository: Repository, server: _Server, store: str) -> None:
    """The pointers bound its files, and the next deployment removes them."""
    server.content = b"\0" * 20 * 1024 * 1024
    repository.commit_and_push({".lfsconfig": f"[lfs]\n\turl = {store}\n"})
    with pytest.raises(DeployError, match="files of git-lfs in"):
        build_head(tmp_path)
    mirror = tmp_path / "state/mirrors/shop.git"
    sizes = [path.stat().st_size for path in mirror.glob("lfs/**/*") if path.is_file()]
    assert max(sizes) <= len(CONTENT) + 1024 * 1024
    server.content = CONTENT
    build_head(tmp_path)
    assert [path.name for path in mirror.glob("lfs/**/*") if path.is_file()] == [sha256(CONTENT).hexdigest()]


@pytest.mark.threat(60)
@pytest.mark.usefixtures("git_lfs")
@pytest.mark.parametrize("damaged", [False, True])
def test_uncounted_pointers_are_not_fetched(
    tmp_path: Path, repository: Repository, server: _Server, store: str, damaged: bool
) -> None:
    """git-lfs reads more as a pointer: files that no attribute names, other line ends, and an old address."""
    old = pointer(b"old").replace("git-lfs.github.com/spec/v1", "hawser.github.com/spec/v1")
    loose = {"a.png": pointer(b"loose").rstrip(), "b.png": pointer(b"ends").replace("\n", "\r\n")}
    config = {".lfsconfig": f"[lfs]\n\turl = {store}\n"}
    repository.commit_and_push({"docs/a.txt": pointer(b"plain"), "docs/b.txt": old, **loose, **config})
    server.content = b"damaged" if damaged else CONTENT
    with pytest.raises(DeployError) if damaged else nullcontext():
        build_head(tmp_path)
    assert server.asked == {sha256(CONTENT).hexdigest()}


@pytest.mark.threat(60)
@pytest.mark.usefixtures("git_lfs")
def test_failed_fetch_leaves_no_files(tmp_path: Path, repository: Repository) -> None:
    stored(repository)
    build_head(tmp_path)
    repository.commit_and_push({"static/logo.png": pointer(b"missing")})
    with pytest.raises(DeployError):
        build_head(tmp_path)
    assert not list((tmp_path / "state/mirrors/shop.git/lfs/objects").glob("*/*/*"))


@pytest.mark.usefixtures("git_lfs")
def test_store_of_the_repository(tmp_path: Path, repository: Repository, store: str) -> None:
    repository.commit_and_push({".lfsconfig": f"[lfs]\n\turl = {store}\n"})
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "static/logo.png").read_bytes() == CONTENT


@pytest.mark.threat(17)
@pytest.mark.usefixtures("git_lfs")
@pytest.mark.parametrize("address", ["ext::touch ran", "https://ada:canary@git.example.org/x", "--help", "git://x/y"])
def test_refused_store(tmp_path: Path, repository: Repository, address: str) -> None:
    repository.commit_and_push({".lfsconfig": f"[lfs]\n\turl = {address}\n"})
    with pytest.raises(DeployError, match=r"\.lfsconfig has an address that is refused"):
        build_head(tmp_path)


@pytest.mark.threat(17)
@pytest.mark.usefixtures("git_lfs")
def test_program_in_lfsconfig_does_not_run(tmp_path: Path, repository: Repository) -> None:
    stored(repository)
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    agent = f'[lfs]\n\tstandalonetransferagent = x\n[lfs "customtransfer.x"]\n\tpath = {trap}\n'
    repository.commit_and_push(
        {".lfsconfig": f'{agent}[core]\n\tsshCommand = {trap}\n[lfs "extension.x"]\n\tsmudge = {trap}\n'}
    )
    build_head(tmp_path)
    assert not (tmp_path / "sprung").exists()
