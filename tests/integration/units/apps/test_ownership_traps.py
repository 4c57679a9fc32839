"""Mistakes of manual deployments, with real git, real users and a real environment."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.files.ownership.attributes import user_name
from tests.support.hosts import WEB, WORKER, Host, host
from units.apps.permissions import PermissionReport, check_permissions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(params=["group", "acl"])
def at(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Return a host with a first commit, under two policies. The third, `split`, excludes fewer users."""
    with host(request.param) as made:
        yield made


def repaired(at: Host) -> PermissionReport:
    """Run a command as root."""
    return check_permissions(at.app(), at.settings, fix=True, worker=WORKER)


def right(at: Host) -> bool:
    report = check_permissions(at.app(), at.settings, worker=WORKER)
    return report.exit_status == 0 or pytest.fail("\n".join(report.lines()))


def locally_changed(at: Host, release: Path) -> str:
    """Return git's changes between the commit and a directory, modes included."""
    git = ("git", "-C", str(at.directory / "work"), "-c", "core.fileMode=true", "--work-tree", str(release))
    changed = ("diff", "--name-only", "--diff-filter=MT", "HEAD")
    names = at.as_worker(lambda: subprocess.run([*git, *changed], capture_output=True, text=True, check=True).stdout)
    return names.replace(".env\n", "")


def output(*argv: str | Path, **env: str) -> str:
    """Return a program's output. Its environment holds only the given variables."""
    done = subprocess.run(argv, env=env or None, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def runs(at: Host, release: Path) -> str:
    """Start the app and one of its programs as the app's user."""
    app = (release / "venv" / "bin" / "python", "-B", release / "app.py")

    def start() -> str:
        return "".join(output(*argv) for argv in (app, (release / "bin" / "tool",)))

    return at.as_app(start)


def git_as_root(at: Host, *arguments: str) -> None:
    """Run git with every repository safe, and with the usual umask."""
    config = at.directory / "root.gitconfig"
    config.write_text("[safe]\n\tdirectory = *\n")
    subprocess.run(["git", *arguments], env={**os.environ, "GIT_CONFIG_GLOBAL": str(config)}, umask=0o022, check=True)


def users(top: Path) -> set[str]:
    """Return the owners below a directory, without links."""
    return {user_name(path.lstat().st_uid) for path in [top, *top.rglob("*")] if not path.is_symlink()}


def test_modes_are_no_changes_for_git(at: Host) -> None:
    release, _ = at.deploy()
    assert locally_changed(at, release) == ""
    subprocess.run(["chmod", "-R", "755", release], check=True)  # The trap: one mode for everything.
    assert "app.py" in locally_changed(at, release)
    at.commit({"app.py": "import hello\nprint('second')\n"})
    second, _ = at.deploy()
    assert locally_changed(at, second) == ""
    assert stat.S_IMODE((second / "bin" / "tool").stat().st_mode) & 0o111
    assert not stat.S_IMODE((second / "app.py").stat().st_mode) & 0o111


def test_environment_survives_chown(at: Host) -> None:
    release, _ = at.deploy()
    assert runs(at, release) == "ready 1.0\nworks\n"
    subprocess.run(["chown", "-R", "root:root", at.root / "venvs"], check=True)
    subprocess.run(["chmod", "-R", "go=", at.root / "venvs"], check=True)
    assert "Permission denied" in runs(at, release)
    report = repaired(at)
    assert report.exit_status == 0 and len(report.findings) > 5
    assert runs(at, release) == "ready 1.0\nworks\n"
    assert right(at)


def test_programs_survive_chmod(at: Host) -> None:
    """A file in an environment's `bin` with a program's first bytes is a program, whatever its mode."""
    release, _ = at.deploy()
    program = (release / "venv").resolve() / "bin" / "tool"
    subprocess.run(["cp", "-p", release / "bin" / "tool", program], check=True)
    (program.with_name("native")).write_bytes(b"\x7fELF, as far as anybody looks")
    shutil.chown(program.with_name("native"), WORKER, release.group())
    assert repaired(at).exit_status == 0
    subprocess.run(["chmod", "-R", "640", at.root / "venvs"], check=True)
    lines = [str(one) for one in check_permissions(at.app(), at.settings, worker=WORKER).findings]
    shown = [line for line in lines if line.startswith((f"{program} ", f"{program.with_name('native')} "))]
    assert len(shown) == 2 and all(" 0640" in line and re.search(r"should be \S+ 055[05]", line) for line in shown)
    assert not any("activate " in line and re.search(r"should be \S+ 055", line) for line in lines)
    assert repaired(at).exit_status == 0
    assert at.as_app(lambda: output(program)) == "works\n"
    assert runs(at, release) == "ready 1.0\nworks\n"
    assert right(at)


def test_deployment_repairs_environment_programs(at: Host) -> None:
    """The environment that it uses again, and one for a rollback."""
    first, _ = at.deploy()
    at.commit({"requirements.txt": "hello == 1.0\n", "app.py": "import hello\nprint('second')\n"})
    second, _ = at.deploy()
    programs = []
    for release in (first, second):
        programs.append((release / "venv").resolve() / "bin" / "tool")
        subprocess.run(["cp", "-p", release / "bin" / "tool", programs[-1]], check=True)
    assert programs[0] != programs[1]
    subprocess.run(["chmod", "-R", "640", at.root / "venvs"], check=True)
    at.commit({"app.py": "import hello\nprint('third')\n"})
    third, log = at.deploy(service={"preflight": ["tool"]})
    assert "is used again" in log and "sudo" not in log
    assert [at.as_app(lambda program=program: output(program)) for program in programs] == ["works\n"] * 2  # type: ignore[misc]
    assert runs(at, third) == "third\nworks\n"
    assert right(at)


def test_unrepairable_environment_blames_no_commit(at: Host) -> None:
    venv = (at.deploy()[0] / "venv").resolve()
    subprocess.run(["chown", "-R", "root:root", venv], check=True)
    subprocess.run(["chmod", "-R", "640", venv], check=True)
    at.commit({"app.py": "import hello\nprint('second')\n"})
    refusal = at.refused(service={"preflight": ["tool"]})
    assert refusal.startswith("worker.errors.DeployError:") and f"{venv} cannot be read" in refusal
    assert repaired(at).exit_status == 0
    assert runs(at, at.deploy()[0]) == "second\nworks\n"


@pytest.mark.threat(27)
def test_new_environment_is_readable(at: Host) -> None:
    """The installer's cache may come from a umask that excludes everyone."""
    cache = at.directory / "state" / "cache" / "shop" / "uv"
    wheel = at.directory / "wheels" / "hello-1.0-py3-none-any.whl"
    argv = (at.uv, "pip", "install", "--quiet", "--no-index", "--target", at.directory / "thrown-away", wheel)

    def fill() -> str:
        os.umask(0o077)
        return output(*argv, UV_CACHE_DIR=str(cache), UV_PYTHON=str(at.python))

    assert at.as_worker(fill) == ""
    release, _ = at.deploy()
    assert runs(at, release) == "ready 1.0\nworks\n"
    assert right(at)


def test_root_s_pull_stops_nothing(at: Host) -> None:
    release, _ = at.deploy()
    mirror = at.directory / "state" / "mirrors" / "shop.git"
    assert "not a git repository" in output("git", "-C", release, "pull")
    at.commit({"app.py": "print('second')\n"})
    # What people do instead: the commit's files by hand, and a fetch into the mirror, as root.
    git_as_root(at, "-C", str(mirror), "fetch", "-q", at.repository.url, "main:refs/heads/by-hand")
    git_as_root(at, "-C", str(mirror), f"--work-tree={release}", "checkout", "-q", "-f", "by-hand", "--", ".")
    assert WORKER in users(mirror) and "root" in users(mirror) and "root" in users(release)
    report = check_permissions(at.app(), at.settings, worker=WORKER)
    assert report.exit_status == 1
    assert any(
        line.startswith(f"{release}/app.py is root:") and f" should be {WORKER}:" in line for line in report.lines()
    )
    assert repaired(at).exit_status == 0
    assert users(mirror) == users(release) == {WORKER}
    second, _ = at.deploy()
    assert runs(at, second) == "second\nworks\n"


@pytest.mark.threat(77)
def test_env_file_survives_an_update(at: Host) -> None:
    env = at.root / "shared" / ".env"
    first, _ = at.deploy()
    before = env.stat()
    at.commit({".env": "SECRET=from the repository\n"})
    assert "the commit contains .env" in at.refused()
    at.commit({".env": None, "app.py": "print(open('.env').read())\n"})
    second, _ = at.deploy()
    for release in (first, second):
        assert at.as_app((release / ".env").read_text) == "SECRET=canary\n"
    after = env.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert "PermissionError" in at.as_stranger(env.read_text)


@pytest.mark.threat(77)
def test_repository_link_replaces_no_uploads(at: Host) -> None:
    uploads = at.root / "shared" / "uploads"
    first, _ = at.deploy()
    assert at.as_app(lambda: (first / "uploads" / "photo").write_text("mine")) == "4"
    before = uploads.stat()
    assert at.as_worker(lambda: (at.directory / "work" / "uploads").symlink_to("/etc")) == "None"
    at.commit({})
    assert "the commit contains uploads" in at.refused()
    assert (uploads / "photo").read_text() == "mine"
    assert os.readlink(first / "uploads") == str(uploads)
    assert (uploads.stat().st_ino, uploads.stat().st_mode) == (before.st_ino, before.st_mode)
    assert users(uploads) == {WEB}
    assert right(at)
