"""The program of a build's unit, run by root: `python -m worker.phase.build_program ROOT BUILDER OWNER [GROUP]`.

It gives the release behind ROOT's `next` to the user BUILDER, runs the commands one by one as this user, ends all
its processes and takes everything back for OWNER. It is the first process of a number space of its own. The
commands come as JSON on standard input: objects with `argv`, `cwd`, `env` and `files`. The status is that of the first
command that failed, or 0. Without pathlib, subprocess and typing it starts in half of the time.
"""

import grp
import json
import os
import pwd
import signal
import sys
from contextlib import suppress

from hookd.files.build_owner import give_release, take_releases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGNALLED = 128
_SHOWN = 10


class Stopped(BaseException):
    """systemd stops the unit: a limit is reached, a person stopped the job, or its worker died."""


def main(root: str, builder: str, owner: str, group: str = "") -> int:
    """Run the commands and return the status for systemd."""
    user, owner_id = pwd.getpwnam(builder), pwd.getpwnam(owner).pw_uid
    refused: list[str] = []
    status = 0
    signal.signal(signal.SIGTERM, _stop)
    try:
        refused += give_release(root, owner_id, user.pw_uid)
        if not refused:
            status = _run_all(json.load(sys.stdin), user, group)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    except Stopped:
        status = _SIGNALLED + signal.SIGTERM
    finally:
        _end_all()
        refused += take_releases(root, user.pw_uid, owner_id)
    for line in refused[:_SHOWN] if not status else ():
        sys.stdout.write(f"refused: {line}\n")
    return status or (1 if refused else 0)


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A second one must not stop the take.
    raise Stopped


def _run_all(commands: "list[dict[str, Any]]", user: pwd.struct_passwd, group: str) -> int:
    """Run commands until one fails, and return its status."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    for command in commands:
        status = _run(user, group, command)
        if status:
            return status
    return 0


def _run(user: pwd.struct_passwd, group: str, command: "dict[str, Any]") -> int:
    """Run a command as a user. Its variables are not root's, because they could load code of the release."""
    sys.stdout.write(f"$ {' '.join(command['argv'])}\n")
    sys.stdout.flush()
    # A stop must not raise in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        _execute(user, group, **command)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    ended = status = 0
    while ended != pid:  # As the first process of its number space it has orphans to bury, too.
        ended, status = os.wait()
    status = os.waitstatus_to_exitcode(status)
    return status if status >= 0 else _SIGNALLED - status


def _execute(
    user: pwd.struct_passwd, group: str, *, argv: list[str], cwd: str, env: dict[str, str], files: dict[str, str]
) -> None:
    """Become a user, write files and become another program. Without it the status is 127."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        # No capability is left, and no_new_privs of the unit keeps it so.
        os.setgroups([grp.getgrnam(group).gr_gid] if group else [])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        for path, text in files.items():
            _write(path, text)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, env)  # noqa: S606 - A program, and no shell.
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _write(path: str, text: str) -> None:
    """Write a file that only this user reads. An earlier command may have written it already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _end_all() -> None:
    """Kill all other processes of this number space, and wait for them."""
    if os.getpid() != 1:
        raise RuntimeError("this program is not the first process of a number space")
    while True:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
