"""The directory of one app without root: configuration, secret, variables, state, releases and sockets."""

import os
import secrets
import shlex
import socket
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.config import Config, load, own_configs, own_directory
from hookd.files.ownership.policies import PRIVATE
from hookd.model.app import App
from units.apps.table.own_file import file_text
from units.render.circus import CircusConfig, circus_app
from units.render.templates import render
from units.system.errors import HostError

# A socket's path has at most 107 bytes, and the longest name here is NAME-green.sock.
_SOCKET_BYTES: Final = 107
# The pause between two looks at the services and at the times of the next polls.
_RECONCILE_SECONDS: Final = 5
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_HEADER: Final = "What hookd knows of {name}. After a change: hookd up"
_VARIABLES: Final = "# Variables of {name}, one NAME=value per line. After a change: hookd up\n"


@dataclass(frozen=True)
class Home:
    """The directory of one app. It is reconciled all the time, unless somebody else does it."""

    directory: Path
    name: str
    reconciles: bool = True

    @property
    def config_file(self) -> Path:
        """The settings of hookd."""
        return self.directory / "hookd.toml"

    @property
    def app_file(self) -> Path:
        """The file of the app."""
        return self.directory / "apps" / f"{self.name}.toml"

    @property
    def secret_file(self) -> Path:
        """The webhook's secret."""
        return self.directory / "secrets" / self.name

    @property
    def variables_file(self) -> Path:
        """The variables of the app."""
        return self.directory / "variables"

    @property
    def root(self) -> Path:
        """The place of the releases."""
        return self.directory / "app"

    @property
    def log(self) -> Path:
        """The output of hookd's programs and of the app."""
        return self.directory / "services.log"

    @property
    def endpoint(self) -> str:
        """The command socket of circus."""
        return f"ipc://{self.directory / 'circus.sock'}"

    @property
    def exists(self) -> bool:
        """Return True if the app was set up here."""
        return self.app_file.exists()

    def load(self) -> Config:
        """Read the configuration. Raises ConfigError."""
        return load(self.config_file)

    def health_url(self, page: str) -> str:
        """Return the address of the health check."""
        return f"unix:{self.directory}/{self.name}-{{colour}}.sock:{page}"

    def circus(self, config: Config) -> CircusConfig:
        """Return what circus runs: hookd's programs and the app."""
        hookd = f"{sys.executable} -P -m hookd.cli"
        programs = {
            "redis": f"{hookd} redis",
            "receiver": f"{hookd} serve",
            "worker": f"{hookd} worker --name {self.name}",
            **({"reconcile": f"{hookd} reconcile --every {_RECONCILE_SECONDS}"} if self.reconciles else {}),
        }
        apps = tuple(circus_app(app) for app in config.catalogue.apps)
        return CircusConfig(self.directory, apps, programs, {"HOOKD_CONFIG": str(self.config_file)})

    def app_url(self, app: App) -> str:
        """Return the address of the app."""
        return f"http://{app.service.listen}/"

    def require_private(self) -> None:
        """Raise HostError if another user owns or may change the directory. Its settings name programs to run."""
        for path in (self.directory.parent, self.directory):
            with suppress(FileNotFoundError):
                found = path.stat()
                if found.st_uid != os.geteuid():
                    raise HostError(f"{path} belongs to another user", hint=f"ls -ld {shlex.quote(str(path))}")
                if found.st_mode & _OTHERS_WRITE:
                    hint = f"chmod go-w {shlex.quote(str(path))}"
                    raise HostError(f"other users may change {path}", hint=hint)

    def require_short_path(self) -> None:
        """Raise HostError if a socket's path would be too long."""
        longest = self.directory / f"{self.name}-green.sock"
        if len(str(longest).encode()) > _SOCKET_BYTES:
            raise HostError(f"{self.directory} is too long for a socket's path", hint="hookd up --name SHORT")


def default_home(name: str) -> Home:
    """Return the directory of an app of this user."""
    return Home(own_directory() / name, name)


def all_homes() -> list[Home]:
    """Return the directories of all apps of this user."""
    homes = (default_home(path.parent.name) for path in own_configs())
    return [home for home in homes if home.exists]


def write_settings(home: Home, receiver_port: int) -> None:
    """Make the directory with the settings of hookd. Each new one is private, and so is the first parent."""
    for path in (home.directory.parent, home.directory, home.app_file.parent, home.secret_file.parent, home.root):
        path.mkdir(mode=PRIVATE.directory, exist_ok=True)
    _write(home.config_file, render("up/hookd.toml", home=home, receiver_port=receiver_port))


def create(home: Home, table: Mapping[str, Any], variables: str) -> None:
    """Write the other files of a new app."""
    _write(home.secret_file, secrets.token_hex(32) + "\n")
    _write(home.variables_file, _VARIABLES.format(name=home.name) + variables)
    # The last one, because the app exists with it.
    _write(home.app_file, file_text(_HEADER.format(name=home.name), table))


def _write(path: Path, text: str) -> None:
    """Write a file that only this user may read."""
    path.touch(mode=PRIVATE.file)
    path.write_text(text, encoding="utf-8")


def free_port(first: int = 0) -> int:
    """Return a free port of this machine: `first`, or else any."""
    try:
        return _bind(first)
    except OSError:
        return _bind(0)


def require_free_port(port: int, hint: str) -> None:
    """Raise HostError with `hint` if this user cannot listen on a port."""
    try:
        _bind(port)
    except PermissionError:
        raise HostError(f"only root may use port {port}", hint=hint) from None
    except OSError:
        raise HostError(f"port {port} is in use", hint=hint) from None


def _bind(port: int) -> int:
    """Bind a port as the services do, also while old connections to it end. Return its number. Raises OSError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        number: int = probe.getsockname()[1]
        return number
