"""A Debian server with systemd as its first process, on a disk of its own."""

import os
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import socket

from tests.support.server import control_groups, tree
from tests.support.server.commands import Done, account, command_line, group_id, run
from tests.support.server.image import HOSTNAME, image_settings
from tests.support.server.room import Room, children, room, way_out

_BOOT_SECONDS = 90
_STOP_SECONDS = 120
_MIN_PAUSE, _MAX_PAUSE = 0.05, 1.0
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), signals


class Machine:
    """A running server. Its paths are text, as the server sees them."""

    def __init__(self, directory: Path, opened: Room, disk: Path) -> None:
        self.disk = disk
        self._directory = directory
        self._room = opened
        self._group: Path | None = None
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self.settings = image_settings(disk)

    # --- commands

    def run(
        self,
        *argv: str,
        user: str = "root",
        input: str | None = None,
        check: bool = True,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
        directory: str = "/",
    ) -> Done:
        """Run a command without a terminal, with `settings`. `check` fails the test on an error."""
        done = run(self.command(*argv, user=user, env=env, directory=directory), input, timeout)
        if check and done.returncode:
            output = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{shlex.join(argv)} as {user} ended with {done.returncode}:\n{output}")
        return done

    def command(
        self, *argv: str, user: str = "root", env: Mapping[str, str] | None = None, directory: str = "/"
    ) -> list[str]:
        """Return the host's command line that runs a command inside."""
        variables = {**self.settings, **(env or {})}
        return command_line(self._leader, account(self.disk, user), argv, variables, directory)

    def shell(self, text: str, *, user: str = "root", directory: str = "/root", timeout: float = 600) -> str:
        """Run shell lines until the first error, and return their output with errors."""
        argv = ("bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{text}")
        return self.run(*argv, user=user, directory=directory, timeout=timeout).stdout

    # --- files

    @property
    def root(self) -> Path:
        """The file tree as the server sees it, with /run and /tmp. Each boot has a new one (`disk` stays)."""
        return Path(f"/proc/{self._leader}/root")

    def path(self, name: str) -> Path:
        """Return a path of the server as a path of the host. A final link is not followed."""
        return tree.inside(self.root, name)

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return tree.inside(self.root, name, last=True).read_text()

    def write(self, name: str, content: str | bytes, mode: int = 0o644, owner: str = "root:root") -> Path:
        """Write a file, with missing parent directories of root. `owner` is USER:GROUP."""
        path = tree.inside(self.root, name, last=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        user, _, group = owner.partition(":")
        os.chown(path, account(self.disk, user).uid, group_id(self.disk, group))
        path.chmod(mode)
        return path

    def files(self, passing: frozenset[str] = tree.PASSING) -> dict[str, tree.Entry]:
        """Return mode, owner and group of each path on the disk, without paths that Debian itself writes."""
        return tree.listed(self.disk, passing)

    def copy_checkout(self, to: str = "/root/hookd") -> None:
        """Copy this checkout with its uncommitted changes."""
        tree.copy_checkout(self.path(to))

    # --- systemd

    def unit_state(self, unit: str) -> str:
        """Return `active`, `inactive`, `failed` and so on. A missing unit is `inactive`."""
        return self.run("systemctl", "show", "--property=ActiveState", "--value", unit).stdout.strip()

    def journal(self, unit: str, *more: str) -> str:
        """Return a unit's lines in the journal since the first boot."""
        return self.run("journalctl", "--no-pager", f"--unit={unit}", *more).stdout

    def wait_until(self, condition: Callable[[], object], seconds: float = 60, what: str = "the condition") -> None:
        """Wait until a condition holds. After the limit, fail the test with the newest lines of the journal."""
        end, start = time.monotonic() + seconds, time.monotonic()
        while not condition():
            if time.monotonic() > end:
                newest = self.run("journalctl", "--no-pager", "--lines=60").stdout
                raise AssertionError(f"{what} did not come about within {seconds:g} s\n{newest}")
            _rest(since=start)
            start = time.monotonic()

    # --- network

    def socket(self) -> socket:
        """Return a TCP socket in the server's network, where 127.0.0.1 is the server."""
        return self._room.socket()

    # --- power

    def boot(self) -> None:
        """Start the machine and wait until systemd has started everything."""
        name = f"hookd-{self._directory.parent.name}-{self._directory.name}"
        self._group = control_groups.make(self._room.root / "sys/fs/cgroup", name)
        with (self._directory / "console.log").open("ab") as console:
            self._nspawn = subprocess.Popen(
                self._room.enter(*self._nspawn_command()),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end, start = time.monotonic() + _BOOT_SECONDS, time.monotonic()
        while not self._is_up():
            if time.monotonic() > end or self._nspawn.poll() is not None:
                console_text = (self._directory / "console.log").read_text(errors="replace")
                raise AssertionError(f"the machine does not come up:\n{console_text[-4000:]}")
            _rest(since=start)
            start = time.monotonic()

    def reboot(self) -> None:
        """Reboot in an orderly way."""
        os.kill(self._leader, signal.SIGINT)  # systemd(1): as Ctrl-Alt-Del
        self._wait_for_end()
        self.boot()

    def power_cut(self) -> None:
        """Kill the machine and boot it again."""
        self.kill()
        self.boot()

    def stop(self) -> None:
        """Power off in an orderly way."""
        os.kill(self._leader, _POWER_OFF)
        self._wait_for_end()

    def kill(self) -> None:
        """Kill every process of the machine at once, unless it is off."""
        if self._nspawn is None:
            return
        if self._leader:
            os.kill(self._leader, signal.SIGKILL)
        else:
            self._nspawn.kill()
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        assert self._nspawn and self._group
        self._nspawn.wait(_STOP_SECONDS)
        control_groups.remove(self._group)
        self._nspawn, self._leader = None, 0

    def _is_up(self) -> bool:
        self._leader = self._find_leader()
        if not self._leader:
            return False
        command = command_line(self._leader, account(self.disk, "root"), ("systemctl", "is-system-running"), {}, "/")
        return run(command, None, _BOOT_SECONDS).stdout.strip() in ("running", "degraded")

    def _find_leader(self) -> int:
        """Return the first process inside: nsenter starts nspawn, and nspawn starts it."""
        assert self._nspawn
        found = (pid for nspawn in children(self._nspawn.pid) for pid in children(nspawn))
        return next((pid for pid in found if _is_first(pid)), 0)

    def _nspawn_command(self) -> tuple[str, ...]:
        assert self._group
        inside_room = self._group.relative_to(self._room.root)
        return (
            *("sh", "-c", 'echo 0 >"$0" && exec "$@"', f"/{inside_room}/cgroup.procs"),
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={self._group.name}"),
            *(f"--directory=/{self.disk.relative_to(self._room.root)}", f"--hostname={HOSTNAME}"),
            *("--network-namespace-path=/proc/self/ns/net", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            # For IPAddressDeny= and DevicePolicy=.
            *("--capability=CAP_BPF", "--system-call-filter=bpf"),
            "--console=read-only",
        )


@contextmanager
def machine(directory: Path, lower: Sequence[Path], *, is_kept: bool = False) -> Iterator[Machine]:
    """Run a machine on the layers in `lower`, topmost first. Its changes are in `directory`/upper if they are kept."""
    directory.mkdir()
    with room() as opened, way_out(opened):
        if not is_kept:
            opened.use_memory(directory)
        for name in ("upper", "work", "disk"):
            (opened.root / str(directory / name).lstrip("/")).mkdir()
        control_groups.mount(opened)
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={directory}/upper,workdir={directory}/work"
        opened.call("mount", "-t", "overlay", "overlay", "-o", options, f"{directory}/disk")
        server = Machine(directory, opened, opened.root / str(directory / "disk").lstrip("/"))
        (server.disk / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
        try:
            server.boot()
            yield server
        finally:
            server.kill()


def _rest(*, since: float) -> None:
    """Pause three times as long as a question took, because the questions compete with their subject for the cores."""
    time.sleep(min(_MAX_PAUSE, max(_MIN_PAUSE, 3 * (time.monotonic() - since))))


def _is_first(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        is_systemd = Path(f"/proc/{pid}/exe").readlink().name == "systemd"
    except (FileNotFoundError, ProcessLookupError):
        return False
    numbers = next(line for line in lines if line.startswith("NSpid:")).split()
    return is_systemd and numbers[-1] == "1"
