"""A decided adoption, as a value that is kept on disk: an interrupted one goes on with it, a failed one goes back."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from hookd.model.app import App
from hookd.model.settings import Section
from units.apps.table import parse_app
from units.system import disk, layout

# How visitors come in: through nginx; through a socket that systemd holds already; or straight to gunicorn.
Entrance = Literal["nginx", "held", "direct"]


class Stage(StrEnum):
    """How far it has come: what is not yet past its point is begun anew."""

    DECIDED = "decided"
    OPENED = "opened"
    DONE = "done"


class NginxChange(Section):
    """A file of nginx's, before and after."""

    path: Path
    before: str
    after: str


class CopiedUnitFile(Section):
    """A file of the old unit, for the one that stands in for it: its name there, its text and mode."""

    name: str
    text: str
    mode: int


class Adoption(Section):
    """What is taken over, and how."""

    name: str
    root: Path
    unit: str
    way: Entrance
    commit: str
    olds: tuple[str, ...]
    page: str
    host: str
    table: dict[str, Any]
    environment: str
    changes: tuple[NginxChange, ...] = ()
    copied: tuple[CopiedUnitFile, ...] = ()
    open_data: tuple[str, ...] = ()
    shared_files: tuple[str, ...] = ()
    member_of: str | None = None
    stage: Stage = Stage.DECIDED

    @property
    def app(self) -> App:
        """The app as it is to be."""
        return parse_app(self.name, self.table)

    @property
    def interim_unit(self) -> str:
        """The unit that runs the first release while the real one changes."""
        return f"{self.unit}-bridge"

    @property
    def interim_socket(self) -> Path:
        """Where that unit is asked, and by hookd alone."""
        return layout.SOCKETS / f"{self.name}-bridge.sock"

    @property
    def interim_table(self) -> dict[str, Any]:
        """The app as long as that unit is the one that deployments restart: asked on a socket of its own."""
        socket = f"unix:{self.interim_socket}"
        service = {**self.table["service"], "name": self.interim_unit, "listen": socket, "own_socket": False}
        health = {**self.table["health"], "url": f"{socket}:{self.page}"}
        return {**self.table, "service": service, "health": health}

    @property
    def bridge(self) -> App:
        """The app with that unit."""
        return parse_app(self.name, self.interim_table)

    @property
    def check_socket(self) -> Path:
        """Where the real unit is asked before visitors depend on it."""
        return layout.SOCKETS / f"{self.name}-check.sock"

    def at(self, stage: Stage) -> "Adoption":
        """The same at another stage."""
        return self.model_copy(update={"stage": stage})


def state_path(name: str) -> Path:
    """Where an app's adoption is kept, beside what else set-up remembers."""
    return layout.SETUP_STATE / "adopted" / f"{name}.json"


def load(name: str) -> Adoption | None:
    """Read what is kept of an app's adoption; None when it was not adopted."""
    content = disk.read(state_path(name))
    return None if content is None else Adoption.model_validate_json(content)


def save(adoption: Adoption) -> Adoption:
    """Keep it, on disk before the next thing happens."""
    disk.make_directory(layout.SETUP_STATE / "adopted", disk.CLOSED)
    disk.write(state_path(adoption.name), adoption.model_dump_json(indent=1).encode(), disk.SECRET)
    return adoption


def delete(name: str) -> None:
    """Keep nothing of it any more."""
    disk.remove(state_path(name))
