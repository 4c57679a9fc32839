"""Renders the services of a machine without systemd for circus: it holds the sockets, and starts and stops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hookd.model.journal import Colour
from units.render.templates import render

GUNICORN_CONF = Path(__file__).parents[1] / "gunicorn.conf.py"


@dataclass(frozen=True)
class CircusProgram:
    """One of hookd's own programs."""

    name: str
    command: str


@dataclass(frozen=True)
class CircusApp:
    """An app on a port of this machine: two colours that take turns, or (None) one service."""

    name: str
    root: Path
    port: int
    colours: tuple[Colour | None, ...]


@dataclass(frozen=True)
class CircusConfig:
    """Everything that one circus runs; its sockets lie in `directory`, whose path must be short.

    The first of `programs` starts first. `health_seconds` is how long an app's own question may take.
    """

    directory: Path
    services: tuple[CircusApp, ...]
    programs: tuple[CircusProgram, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    health_seconds: int | None = None

    @property
    def endpoint(self) -> str:
        """Where it takes commands."""
        return f"ipc://{self.directory}/circus.sock"

    @property
    def ini(self) -> str:
        """The text of its file."""
        return render(
            "circus.ini",
            directory=self.directory,
            services=self.services,
            programs=self.programs,
            environment=self.environment,
            health_seconds=self.health_seconds,
            gunicorn_conf=GUNICORN_CONF,
        )
