"""A Docker Engine in a room of its own, with base images made here: no registry is used, and nothing is installed.

Engine, compose and buildx are those of a server with Debian 13. Like a machine, the engine has its own network
and control groups of version 2, and everything that it runs ends with its room.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import socket

from tests.support.processes import wait_for
from tests.support.server import control_groups
from tests.support.server.commands import PATH, Done, run
from tests.support.server.image import image, image_settings, server
from tests.support.server.places import workplace
from tests.support.server.room import Room, room, way_out
from tests.support.server.stand_ins import DEBIAN, StandIn

_SECONDS = 900
_HOST = "/mnt/host"  # The host's files inside the engine's room.
_START_SECONDS = 60
_TO_IMPORT = 'tar --numeric-owner -C "$0" -c . | docker import "$@"'


class Engine:
    """A running engine. It sees the directories of the host that it was shown, under the same paths."""

    def __init__(self, opened: Room) -> None:
        self._room = opened
        self._shown: set[Path] = set()

    def docker(self, *arguments: str, check: bool = True, timeout: float = _SECONDS, directory: str = "/") -> Done:
        """Run the docker command. `check` fails the test, with the output, on an error."""
        return self.run("docker", *arguments, check=check, timeout=timeout, directory=directory)

    def compose(self, project: Path, *arguments: str, check: bool = True, timeout: float = _SECONDS) -> Done:
        """Run docker compose in a project's directory."""
        self.show(project)
        return self.docker("compose", *arguments, check=check, timeout=timeout, directory=str(project))

    def add(self, stand_in: StandIn) -> None:
        """Make a base image, so that FROM and `image:` find it without asking a registry."""
        root = image(stand_in.recipe)
        self.show(root)
        variables = (f"--change=ENV {name}={value}" for name, value in image_settings(root).items())
        first, *others = stand_in.tags
        self.run("sh", "-c", _TO_IMPORT, str(root), *variables, "-", first)
        for tag in others:
            self.docker("tag", first, tag)

    def show(self, directory: Path) -> None:
        """Share a directory with the engine."""
        if directory not in self._shown:
            self._room.call("mkdir", "-p", str(directory))
            self._room.call("mount", "--bind", f"{_HOST}{directory}", str(directory))
            self._shown.add(directory)

    def socket(self) -> socket:
        """Return a TCP socket in the engine's network, where published ports are on 127.0.0.1."""
        return self._room.socket()

    def run(self, *argv: str, check: bool = True, timeout: float = _SECONDS, directory: str = "/") -> Done:
        """Run a program of the engine's image beside the engine."""
        done = run(list(self._room.enter(*_as_root(self._room, directory), *argv)), None, timeout)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


@contextmanager
def docker_engine(stand_ins: Sequence[StandIn] = (DEBIAN,)) -> Iterator[Engine]:
    """Run an engine with these base images during the block."""
    with workplace() as directory, room() as opened, way_out(opened):
        _mount(opened, directory)
        group = control_groups.make(opened.root / "sys/fs/cgroup", f"hookd-{directory.name}")
        (group / "engine").mkdir()
        engine = Engine(opened)
        try:
            with _daemon(opened, group, directory / "engine.log"):
                wait_for(lambda: engine.docker("version", check=False).returncode == 0, _START_SECONDS, "the engine")
                for stand_in in stand_ins:
                    engine.add(stand_in)
                yield engine
        finally:
            opened.call("kill", "-KILL", "--", "-1")  # What the engine left running.
            control_groups.remove(group)


def _mount(opened: Room, directory: Path) -> None:
    """Make the engine's image the root of the room. Its data are beside the overlay, which cannot nest."""
    for name in ("upper", "work", "disk", "data"):
        (directory / name).mkdir()
    disk = str(directory / "disk")
    options = f"lowerdir={image(server('trixie'))},upperdir={directory}/upper,workdir={directory}/work"
    opened.call("mount", "-t", "overlay", "overlay", "-o", options, disk)
    opened.call("mount", "-t", "proc", "proc", f"{disk}/proc")
    opened.call("mount", "-t", "sysfs", "sysfs", f"{disk}/sys")
    opened.call("mount", "-t", "cgroup2", "cgroup2", f"{disk}/sys/fs/cgroup")
    opened.call("mount", "--rbind", "/dev", f"{disk}/dev")
    for name in ("run", "tmp"):
        opened.call("mount", "-t", "tmpfs", "tmpfs", f"{disk}/{name}")
    opened.call("mkdir", "-p", f"{disk}/var/lib/docker", f"{disk}{_HOST}")
    opened.use_memory(directory / "data")
    opened.call("mount", "--bind", str(directory / "data"), f"{disk}/var/lib/docker")
    # A chroot is not enough, because a program that enters a container's mounts would begin at the host's root.
    opened.call("pivot_root", disk, f"{disk}{_HOST}")


@contextmanager
def _daemon(opened: Room, group: Path, log: Path) -> Iterator[None]:
    place = f"/{(group / 'engine/cgroup.procs').relative_to(opened.root)}"
    into_group = ("sh", "-c", 'echo 0 >"$0" && exec "$@"', place)
    command = (*_as_root(opened, "/"), *into_group, "dockerd", f"--cgroup-parent=/{group.name}/containers")
    with log.open("wb") as output:
        process = subprocess.Popen(
            opened.enter(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    except AssertionError as failure:
        failure.add_note(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        process.kill()
        process.wait(_START_SECONDS)


def _as_root(opened: Room, directory: str) -> tuple[str, ...]:
    variables = {"PATH": PATH, "HOME": "/root", **image_settings(opened.root)}
    return ("env", "-i", "-C", directory, *(f"{name}={value}" for name, value in variables.items()))
