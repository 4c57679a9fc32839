"""Configuration and command of circus, which runs the services of a machine without systemd."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from hookd.model.app import App
from hookd.model.service import Colour
from units.render.templates import render
from units.system.errors import HostError

GUNICORN_CONF = Path(__file__).parents[1] / "gunicorn.conf.py"
IN_RELEASE = GUNICORN_CONF.with_name("in_release.sh")


@dataclass(frozen=True)
class CircusApp:
    """An app on a port of this machine, with two colours or one service (None).

    `environment_file` holds the service's variables.
    """

    name: str
    root: Path
    port: int
    colours: tuple[Colour | None, ...]
    environment_file: Path | None = None

    @property
    def launcher(self) -> str:
        """The start of the service's command, which reads the variables at each start, as systemd does."""
        file = self.environment_file
        reader = (sys.executable, "-P", "-m", "hookd.with_variables", str(file)) if file else ()
        return shlex.join((*reader, "/bin/sh", str(IN_RELEASE)))


def circus_app(app: App) -> CircusApp:
    """Return an app of the catalogue, which listens on a port of this machine."""
    port = int(str(app.service.listen).rpartition(":")[2])
    return CircusApp(app.name, app.root, port, app.colours or (None,), app.service.environment_file)


@dataclass(frozen=True)
class CircusConfig:
    """The programs and apps of one circus. Its sockets lie in `directory`, whose path must be short.

    `programs` are commands by name, in the order of their start. `health_seconds` limits an app's own health check.
    """

    directory: Path
    services: tuple[CircusApp, ...]
    programs: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    health_seconds: int | None = None

    @property
    def file(self) -> Path:
        return self.directory / "circus.ini"

    @property
    def socket(self) -> Path:
        return self.directory / "circus.sock"

    @property
    def endpoint(self) -> str:
        return f"ipc://{self.socket}"

    @property
    def ini(self) -> str:
        return render("circus.ini", **vars(self), gunicorn_conf=GUNICORN_CONF)

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs it, with `ini` in `file`. Raises HostError without circus."""
        if find_spec("circus") is None:
            raise HostError("circus is not installed", hint="./run demo")
        return (sys.executable, "-m", "circus.circusd", str(self.file))
