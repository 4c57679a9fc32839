"""State of an adoption, saved on disk, so that an interrupted one continues and a failed one is rolled back."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from hookd.model.app import App
from hookd.model.tables.fields import Section
from units.adopt.discovery.nginx_sites import NginxSite
from units.apps.table.options import parse_app
from units.system import disk, layout


class Stage(StrEnum):
    """Progress of an adoption."""

    DECIDED = "decided"
    OPENED = "opened"
    DONE = "done"


class Adoption(Section):
    """All decisions of an adoption: the app's file, the environment, and the changes on the host.

    `unit_copies` are the texts of the interim unit's files. `page` is the health page.
    """

    name: str
    root: Path
    unit: str
    commit: str
    old_address: str
    page: str
    table: dict[str, Any]
    environment: str
    changes: tuple[NginxSite, ...]
    unit_copies: dict[str, str]
    stage: Stage = Stage.DECIDED

    @property
    def app(self) -> App:
        """The app after the adoption."""
        return parse_app(self.name, self.table)

    @property
    def interim_unit(self) -> str:
        """Name of the interim unit, without its suffix."""
        return f"{self.unit}-interim"

    @property
    def interim_socket(self) -> Path:
        """Socket of the interim unit, used by hookd alone."""
        return layout.SOCKETS / f"{self.name}-interim.sock"

    @property
    def interim_table(self) -> dict[str, Any]:
        """The app's file while deployments restart the interim unit."""
        socket = f"unix:{self.interim_socket}"
        service = {**self.table["service"], "name": self.interim_unit, "listen": socket, "own_socket": False}
        health = {**self.table["health"], "url": f"{socket}:{self.page}"}
        return {**self.table, "service": service, "health": health}

    @property
    def interim_app(self) -> App:
        """The app with the interim unit."""
        return parse_app(self.name, self.interim_table)

    @property
    def check_socket(self) -> Path:
        """Socket for the health check of the project's unit before visitors reach it."""
        return layout.SOCKETS / f"{self.name}-check.sock"


def state_path(name: str) -> Path:
    """Return the path of an app's adoption."""
    return layout.SETUP_STATE / "adopted" / f"{name}.json"


def load(name: str) -> Adoption | None:
    """Read an app's adoption. Return None if the app was not adopted."""
    content = disk.read(state_path(name))
    return None if content is None else Adoption.model_validate_json(content)


def save(adoption: Adoption) -> Adoption:
    """Write an adoption to the disk before the next step."""
    disk.make_directory(layout.SETUP_STATE / "adopted", disk.CLOSED)
    disk.write(state_path(adoption.name), adoption.model_dump_json(indent=1).encode(), disk.SECRET)
    return adoption
