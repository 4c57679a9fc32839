"""Renders the configuration of circus, which runs the services of a machine without systemd."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hookd.model.journal import Colour
from units.render.templates import render

GUNICORN_CONF = Path(__file__).parents[1] / "gunicorn.conf.py"


@dataclass(frozen=True)
class CircusProgram:
    """A program of hookd."""

    name: str
    command: str


@dataclass(frozen=True)
class CircusApp:
    """An app on a port of this machine, with two colours or one service (None)."""

    name: str
    root: Path
    port: int
    colours: tuple[Colour | None, ...]


@dataclass(frozen=True)
class CircusConfig:
    """The programs and apps of one circus. Its sockets lie in `directory`, whose path must be short.

    `programs` start in their order. `health_seconds` limits an app's own health check.
    """

    directory: Path
    services: tuple[CircusApp, ...]
    programs: tuple[CircusProgram, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    health_seconds: int | None = None

    @property
    def endpoint(self) -> str:
        return f"ipc://{self.directory}/circus.sock"

    @property
    def ini(self) -> str:
        return render(
            "circus.ini",
            directory=self.directory,
            services=self.services,
            programs=self.programs,
            environment=self.environment,
            health_seconds=self.health_seconds,
            gunicorn_conf=GUNICORN_CONF,
        )
