"""Runs a function as a user without privileges, in a process of its own."""

import grp
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def another_group() -> grp.struct_group | None:
    """Return another group that this process may give files to, or None."""
    mine = os.getegid()
    allowed = None if os.geteuid() == 0 else set(os.getgroups())
    return next((g for g in grp.getgrall() if g.gr_gid != mine and (allowed is None or g.gr_gid in allowed)), None)


@contextmanager
def open_directory() -> Iterator[Path]:
    """Provide a directory of the user nobody, which it can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="hookd-"))
    try:
        path.chmod(0o755)
        os.chown(path, NOBODY, NOBODY)
        yield path
    finally:
        shutil.rmtree(path)


def as_nobody(work: Callable[[], object], groups: tuple[int, ...] = ()) -> str:
    """Run a function as nobody, with additional `groups`, and return its result as text. It needs root."""
    return as_user(NOBODY, NOBODY, work, groups)


def as_user(user: int, group: int, work: Callable[[], object], groups: tuple[int, ...] = ()) -> str:
    """Run a function as a user and return its result, or its exception, as text. It needs root."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, _result(user, group, work, groups).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def _result(user: int, group: int, work: Callable[[], object], groups: tuple[int, ...]) -> str:
    try:
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(user)
        os.umask(0o027)
        return str(work())
    except BaseException:
        return traceback.format_exc()
