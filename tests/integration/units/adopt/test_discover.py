"""Discovery with real git, sockets and owners, without running a program of the project as root."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.users import NOBODY, needs_root, open_directory
from units.adopt.discover import current_path
from units.adopt.discovery.checkout import read_checkout
from units.adopt.discovery.service import OldService, ServiceUser, answers, children, command_line, listeners, read_user
from units.system.errors import Refused

pytestmark = needs_root
IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


class Project:
    """A clone of the user nobody, and its remote."""

    def __init__(self, directory: Path) -> None:
        self.remote, self.root = directory / "remote.git", directory / "shop"
        self.as_nobody("git", "init", "-q", "--bare", "-b", "main", str(self.remote))
        self.as_nobody("git", "clone", "-q", str(self.remote), str(self.root))
        self.git("checkout", "-q", "-b", "main")

    def as_nobody(self, *argv: str) -> str:
        command = ("runuser", "-u", "nobody", "--", *argv)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def git(self, *arguments: str) -> str:
        return self.as_nobody("git", "-C", str(self.root), *IDENTITY, *arguments)

    def file(self, name: str, text: str = "") -> None:
        path = self.root / name
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                os.chown(parent, NOBODY, NOBODY)
        path.write_text(text)
        os.chown(path, NOBODY, NOBODY)

    def commit(self, *, push: bool = True) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        if push:
            self.git("push", "-q", "-u", "origin", "main")
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture
def project() -> Iterator[Project]:
    with open_directory() as directory:
        made = Project(directory)
        made.file("wsgi.py", "app = 1\n")
        made.file("uploads/.gitkeep")
        made.file(".gitignore", ".env\n/uploads/*\n!.gitkeep\n")
        made.commit()
        yield made


def test_checkout_facts(project: Project) -> None:
    project.file(".env", "SECRET=1")
    project.file("uploads/a name.txt")
    project.file("downloads/list")
    found = read_checkout(project.root)
    assert (found.url, found.branch) == (str(project.remote), "main")
    assert found.commit == project.git("rev-parse", "HEAD").strip()
    assert set(found.untracked) == {".env", "uploads/a name.txt", "downloads/"}
    assert set(found.tracked) == {".gitignore", "uploads/.gitkeep", "wsgi.py"}
    assert (found.changed, found.unpushed) == ((), 0)


def test_local_changes_are_found(project: Project) -> None:
    project.file("wsgi.py", "app = 2\n")
    project.file("new.py", "")
    project.git("add", "new.py")
    assert set(read_checkout(project.root).changed) == {"wsgi.py", "new.py"}
    project.commit(push=False)
    assert read_checkout(project.root).unpushed == 1


def test_merge_conflict_is_a_change(project: Project) -> None:
    for branch, text in (("other", "app = 2\n"), ("main", "app = 3\n")):
        project.git("checkout", "-q", "-B", branch, "origin/main")
        project.file("wsgi.py", text)
        project.git("commit", "-q", "-a", "-m", "x")
    with suppress(AssertionError):  # git ends with 1.
        project.git("merge", "-q", "other")
    assert read_checkout(project.root).changed == ("wsgi.py",)


def test_mode_change_is_ignored(project: Project) -> None:
    subprocess.run(("chmod", "-R", "755", project.root), check=True)
    assert read_checkout(project.root).changed == ()


def test_remote_branch_name(project: Project) -> None:
    project.git("push", "-q", "origin", "main:production")
    project.git("fetch", "-q")
    project.git("checkout", "-q", "-b", "live", "--track", "origin/production")
    assert read_checkout(project.root).branch == "production"
    project.git("checkout", "-q", "--detach")
    assert read_checkout(project.root).branch is None
    assert read_checkout(project.root).url == str(project.remote)


def test_other_remote_name(project: Project) -> None:
    project.git("remote", "rename", "origin", "upstream")
    assert read_checkout(project.root).url == str(project.remote)
    project.git("remote", "remove", "upstream")
    assert (read_checkout(project.root).url, read_checkout(project.root).branch) == ("", "main")


@pytest.mark.threat(62)
@pytest.mark.parametrize("trap", ["core.fsmonitor", "filter"])
def test_repository_programs_never_run_as_root(project: Project, trap: str) -> None:
    """git may run such a program only as the owner. As root it would leave a file of root's."""
    spy, seen = project.root.parent / "spy", project.root.parent / "seen"
    spy.write_text(f"#!/bin/sh\nid -u >> {seen}\ncat\n")
    spy.chmod(0o755)
    if trap == "filter":
        project.git("config", "filter.spy.clean", str(spy))
        project.file(".gitattributes", "*.py filter=spy\n")
        project.file("wsgi.py", "app = 3\n")
    else:
        project.git("config", trap, str(spy))
    before = {path: path.lstat().st_uid for path in (project.root / ".git").rglob("*")}
    read_checkout(project.root)
    assert "0\n" not in (seen.read_text().splitlines(keepends=True) if seen.exists() else [])
    assert {path: path.lstat().st_uid for path in (project.root / ".git").rglob("*")} == before


@pytest.mark.threat(62)
def test_git_is_never_run_as_root(project: Project) -> None:
    """The owner of the directory can replace root's repository at any moment."""
    spy, seen = project.root.parent / "spy", project.root.parent / "seen"
    spy.write_text(f"#!/bin/sh\nid -u >> {seen}\ncat\n")
    spy.chmod(0o755)
    seen.touch()
    seen.chmod(0o666)
    project.git("config", "filter.spy.clean", str(spy))
    project.file(".gitattributes", "*.py filter=spy\n")
    project.file("wsgi.py", "app = 3\n")
    subprocess.run(("chown", "-R", "root", project.root / ".git"), check=True)
    read_checkout(project.root)
    assert set(seen.read_text().split()) == {str(NOBODY)}


def test_root_checkout_is_refused(project: Project) -> None:
    subprocess.run(("chown", "-R", "root", project.root), check=True)
    with pytest.raises(Refused, match=r"belong to root alone, but git runs .* never as root") as caught:
        read_checkout(project.root)
    assert caught.value.hint == f"sudo chown -R manager: {project.root}/.git"


@pytest.mark.threat(62)
def test_checkout_of_two_owners_is_refused(project: Project) -> None:
    """git would run programs of one owner as the other."""
    os.chown(project.root, pwd.getpwnam("www-data").pw_uid, -1)
    with pytest.raises(Refused, match="belong to www-data and nobody") as caught:
        read_checkout(project.root)
    assert caught.value.hint == f"sudo chown -R www-data: {project.root}/.git"
    os.chown(project.root, NOBODY, -1)
    os.chown(project.root / ".git" / "config", 4_000_000, -1)
    with pytest.raises(Refused, match="does not exist"):
        read_checkout(project.root)


def test_plain_directory_is_refused(project: Project) -> None:
    shutil.rmtree(project.root / ".git")
    with pytest.raises(Refused, match="no git checkout"):
        read_checkout(project.root)


def test_process_listeners(tmp_path: Path) -> None:
    families = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as control:
        unix.bind(f"{tmp_path}/own.sock")
        control.bind(f"{tmp_path}/gunicorn.ctl")
        wanted = {f"unix:{tmp_path}/own.sock"}
        for one in (unix, control):
            one.listen()
        opened = []
        for family, host in families:
            opened.append(listening := socket.socket(family))
            listening.bind((host.strip("[]"), 0))
            listening.listen()
            wanted.add(f"{host}:{listening.getsockname()[1]}")
        found = set(listeners(os.getpid()))
        for listening in opened:
            listening.close()
    assert wanted <= found
    assert not {one for one in found if one.endswith(".ctl")}
    assert listeners(2**22 + 1) == ()


def test_process_children_and_command() -> None:
    with subprocess.Popen(("sleep", "1234.5")) as sleeper:
        try:
            assert sleeper.pid in children(os.getpid())
            wait_for(lambda: command_line(sleeper.pid) == ("sleep", "1234.5"), what="its own words")
        finally:
            sleeper.kill()


@pytest.mark.parametrize(
    ("family", "host", "shown"), [(socket.AF_INET, "0.0.0.0", "0.0.0.0"), (socket.AF_INET6, "::", "[::]")]
)
def test_wildcard_address_is_probed(family: socket.AddressFamily, host: str, shown: str) -> None:
    with socket.socket(family) as listening, ThreadPoolExecutor() as pool:
        listening.bind((host, 0))
        listening.listen()
        address = f"{shown}:{listening.getsockname()[1]}"
        assert address in listeners(os.getpid())
        answer = pool.submit(answers, address, "/", "localhost", 10)
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert answer.result()


def test_user_of_the_process() -> None:
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=www-data", "sleep", "1234.5")
    with subprocess.Popen(nobody) as sleeper:
        try:
            wait_for(lambda: command_line(sleeper.pid)[0] == "sleep", what="the other user")
            user = read_user(old_service(sleeper.pid))
        finally:
            sleeper.kill()
    groups = {pwd.getpwnam(name).pw_gid for name in ("nobody", "www-data")}
    assert user == ServiceUser("nobody", NOBODY, frozenset(groups))


def old_service(process: int) -> OldService:
    return OldService("shop.service", Path("/x"), (), (), (), None, (), (), process, is_unsupported=False)


def test_write_permission_by_mode(tmp_path: Path) -> None:
    web = pwd.getpwnam("www-data")
    person = ServiceUser("www-data", web.pw_uid, frozenset({web.pw_gid}))

    def may(uid: int, gid: int, mode: int) -> bool:
        path = tmp_path / "file"
        path.touch()
        os.chown(path, uid, gid)
        path.chmod(mode)
        return person.may_write(path.stat())

    assert may(web.pw_uid, 0, 0o200)
    assert not may(web.pw_uid, web.pw_gid, 0o066)
    assert may(0, web.pw_gid, 0o020)
    assert not may(0, web.pw_gid, 0o602)
    assert may(0, 0, 0o002)
    assert not may(0, 0, 0o770)


def test_tracked_paths_follow_releases(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    moved = partial(current_path, tmp_path, {"static", "static/a.css", "wsgi.py", "uploads/.gitkeep"})
    current = f"{tmp_path}/current"
    assert moved(f"{tmp_path}/static/") == f"{current}/static/"
    assert moved(f"{tmp_path}/wsgi.py") == f"{current}/wsgi.py"
    assert moved(str(tmp_path)) == current
    assert moved(f"{tmp_path}/venv/lib/admin/") == f"{current}/venv/lib/admin/"
    for path in (f"{tmp_path}/uploads/", f"{tmp_path}/media", f"{tmp_path}x/static", "/elsewhere"):
        assert moved(path) is None
