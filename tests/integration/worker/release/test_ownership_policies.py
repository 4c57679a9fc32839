"""The three ownership policies on a small host: new releases, later files, drift and its repair."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.files.ownership.attributes import ACCESS_ACL, DEFAULT_ACL, readers_acl
from hookd.files.ownership.audit import audit
from hookd.files.ownership.policies import GROUP_READABLE, Acl, Policy, environment_policy
from hookd.model.tables.files import Ownership
from tests.support.hosts import WEB, WORKER, Host, host
from tests.support.processes import PROJECT
from tests.support.programs import program
from worker.release.ownership import enforce, release_policy

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
WWW_DATA = 33
BOB = readers_acl((12_345,), 0o640)
POLICIES = ("group", "split", "acl")


@pytest.fixture(params=POLICIES, scope="module")
def at(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with a first commit, under each policy."""
    with host(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def first(at: Host) -> tuple[Path, str]:
    """Its first release, and the log."""
    return at.deploy()


def test_new_release_follows_policy(at: Host, first: tuple[Path, str]) -> None:
    """Only uv's lock file in an environment has another mode."""
    assert count_corrections(at, *first) <= 1


def count_corrections(at: Host, release: Path, log: str) -> int:
    """Return the number of paths in a new release that the worker had to change."""
    assert list(audit(release, at.code_policy)) == []
    assert list(audit((release / "venv").resolve(), environment_policy(at.code_policy))) == []
    changed = re.search(r"(\d+) files and directories needed another", log)
    assert changed, log
    return int(changed[1])


def test_later_files_follow_policy(at: Host, first: tuple[Path, str]) -> None:
    release, _ = first

    def later() -> None:
        os.umask(0o022 if at.policy == "split" else 0o027)
        (release / "static").mkdir()
        (release / "static" / "site.css").write_text("body {}")

    assert at.as_worker(later) == "None"
    assert list(audit(release, at.code_policy)) == []
    assert at.as_app((release / "static" / "site.css").read_text) == "body {}"
    stranger = at.as_stranger((release / "static" / "site.css").read_text)
    assert (stranger == "body {}") == (at.policy == "split")


@pytest.mark.threat(25, 27)
def test_app_cannot_write_release(at: Host, first: tuple[Path, str]) -> None:
    release, _ = first
    for place in (release, release / "pkg", (release / "venv").resolve()):
        assert "PermissionError" in at.as_app((place / "new").touch)
    for file in (release / "app.py", release / "bin" / "tool", release / ".env"):
        assert "PermissionError" in at.as_app(lambda file=file: file.write_text("mine"))  # type: ignore[misc]


def test_app_can_write_data_directory(at: Host) -> None:
    shutil.rmtree(at.root / "shared" / "uploads")
    release, _ = at.deploy()
    assert at.as_app(lambda: (release / "uploads" / "photo").write_text("mine")) == "4"
    assert "PermissionError" in at.as_stranger((release / "uploads" / "photo").read_text)


def test_forbidden_data_directory(at: Host) -> None:
    refusal = at.refused(shared={"directories": ["uploads"], "data": "/var/lib/shop-of-a-test"})
    assert "the directory /var/lib/shop-of-a-test/uploads is missing, and the worker may not make it" in refusal


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that follows the policy `group`, with root's group."""
    made = tmp_path / "tree"
    (made / "pkg").mkdir(parents=True)
    (made / "pkg" / "a.py").touch()
    list(audit(made, Policy(None, 0, GROUP_READABLE, Acl()), repairs=True))
    return made


def test_unexpected_acl(tree: Path) -> None:
    plain = Policy(None, 0, GROUP_READABLE, Acl())
    os.setxattr(tree / "pkg" / "a.py", ACCESS_ACL, BOB)
    os.setxattr(tree / "pkg", DEFAULT_ACL, BOB)
    found = [str(finding) for finding in audit(tree, plain)]
    assert len(found) == 2
    assert "a.py is root:root 0640 acl user::rw-,user:12345:r-x,group::---,mask::r--,other::---, should be" in found[1]
    assert [finding for finding in audit(tree, plain, repairs=True) if "is now" not in str(finding)] == []
    assert os.listxattr(tree / "pkg" / "a.py") == os.listxattr(tree / "pkg") == []
    assert list(audit(tree, plain)) == []


def test_lost_acl(tree: Path) -> None:
    policy = release_policy(Ownership(policy="acl", user=WEB))
    assert enforce(tree, policy) == 3
    assert enforce(tree, policy) == 0
    (tree / "pkg" / "a.py").chmod(0o600)  # What `chmod` does to the mask shuts the reader out.
    os.removexattr(tree / "pkg", DEFAULT_ACL)
    assert enforce(tree, policy) == 2
    assert os.getxattr(tree / "pkg" / "a.py", ACCESS_ACL) == readers_acl((WWW_DATA,), 0o640)
    assert os.getxattr(tree / "pkg", DEFAULT_ACL) == readers_acl((WWW_DATA,), 0o750)


def test_change_policy(tree: Path) -> None:
    for name in (*POLICIES, "group"):
        policy = release_policy(Ownership(policy=name, group=WEB, user=WEB))
        assert enforce(tree, policy) == 3
        assert enforce(tree, policy) == 0
    assert stat.S_IMODE((tree / "pkg").stat().st_mode) == 0o2750


def test_setgid_without_group_membership(tree: Path) -> None:
    """As in a unit with RestrictSUIDSGID=, where chmod(2) fails for every mode with that bit."""
    (tree / "pkg").chmod(0o2700)  # As mkdtemp makes it.
    call = f"enforce(Path({str(tree)!r}), release_policy(Ownership(group='root')))"
    code = f"from worker.release.ownership import *; print({call})"
    inject = (program("strace", "strace"), "-qq", "-o", "/dev/null", "-e", "inject=chmod,fchmodat:error=EPERM")
    done = subprocess.run(
        [*inject, sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1\n", done.stderr
    assert stat.S_IMODE((tree / "pkg").stat().st_mode) == 0o2750
    assert os.listxattr(tree / "pkg") == []


def test_shared_paths_are_repaired(at: Host) -> None:
    env, shared = at.root / "shared" / ".env", at.root / "shared"
    env.chmod(0o666)
    shared.chmod(0o700)
    at.root.chmod(0o700)
    release, log = at.deploy()
    assert f"{env} was {WORKER}:" in log and " is now " in log
    assert stat.S_IMODE(env.stat().st_mode) == 0o640
    assert at.as_app((release / ".env").read_text) == "SECRET=canary\n"
    os.chown(env, 0, 0)
    _, log = at.deploy()
    line = next(line for line in log.splitlines() if f"{env} is root:root" in line)
    assert "it belongs to another user" in line and line.endswith("next: sudo hookd permissions shop --fix")
