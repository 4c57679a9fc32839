"""Configuration and command of circus, which runs the services of a machine without systemd."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from hookd.model.app import App
from hookd.model.tables.service import Colour, Service
from units.render.app import health_variables
from units.render.templates import circus_word, render
from units.system.errors import HostError

UNITS = Path(__file__).parents[1]
IN_APP, IN_RELEASE = UNITS / "in_app", UNITS / "in_release.sh"


@dataclass(frozen=True)
class CircusApp:
    """An app on a port of this machine, with two colours or one service (None).

    `environment_file` holds the service's variables. `service` is the app's own table. `health` are the variables of
    its health gate, as NAME=value.
    """

    name: str
    root: Path
    port: int
    colours: tuple[Colour | None, ...]
    environment_file: Path | None = None
    service: Service = field(default_factory=Service)
    health: tuple[str, ...] = ("HOOKD_HEALTH_PATH=/healthz",)

    def command(self, home: str, binds: Sequence[str]) -> str:
        """Return the command of a service, whose sockets circus holds. Raises Refused for an unsafe value.

        circus passes no socket to an app's own command, which listens itself.
        """
        own = self.service.command
        if own:
            return f"{self._launcher} {' '.join(map(circus_word, own))}"
        program = shlex.join((f"{home}/venv/bin/python", str(IN_APP), *self.service.gunicorn_options))
        sockets = " ".join(f"--bind fd://$(circus.sockets.{name})" for name in binds)
        return f"{self._launcher} {program} {sockets} {circus_word(self.service.entry)}"

    @property
    def _launcher(self) -> str:
        """The start of the service's command, which reads the variables at each start, as systemd does."""
        file = self.environment_file
        reader = (sys.executable, "-P", "-m", "hookd.with_variables", str(file)) if file else ()
        return shlex.join((*reader, "/bin/sh", str(IN_RELEASE)))


def circus_app(app: App) -> CircusApp:
    """Return an app of the catalogue, which listens on a port of this machine."""
    return CircusApp(
        name=app.name,
        root=app.root,
        port=int(str(app.service.listen).rpartition(":")[2]),
        colours=app.colours or (None,),
        environment_file=app.service.environment_file,
        service=app.service,
        health=health_variables(app, None),
    )


@dataclass(frozen=True)
class CircusConfig:
    """The programs and apps of one circus. Its sockets lie in `directory`, whose path must be short.

    `programs` are commands by name, in the order of their start.
    """

    directory: Path
    services: tuple[CircusApp, ...]
    programs: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

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
        return render("circus.ini", **vars(self))

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs it, with `ini` in `file`. Raises HostError without circus."""
        if find_spec("circus") is None:
            raise HostError("circus is not installed", hint="./run demo")
        return (sys.executable, "-m", "circus.circusd", str(self.file))
