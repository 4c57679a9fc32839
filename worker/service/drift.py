"""What is not as it should be with an app's links and services, judged from values: nothing is asked or changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from hookd.model.app import App
from hookd.model.journal import Colour

_UP: Final = ("active", "reloading")


@dataclass(frozen=True)
class ServiceState:
    """One service: its state in systemd's words, when its process started, and in which directory if that is known."""

    state: str = "missing"
    started: float | None = None
    directory: str | None = None

    @property
    def is_up(self) -> bool:
        """Tell whether it takes requests."""
        return self.state in _UP


@dataclass(frozen=True)
class LinkState:
    """Where a link leads, and since when, in seconds since 1970; a link that is not there leads nowhere."""

    leads_to: str = ""
    since: float | None = None


@dataclass(frozen=True)
class ServiceSnapshot:
    """What was seen of an app: its services by their names, its links by theirs."""

    units: Mapping[str, ServiceState]
    links: Mapping[str, LinkState]

    def unit(self, name: str | None) -> ServiceState:
        """One of the services."""
        return self.units.get(name or "", ServiceState())

    def link(self, name: str) -> LinkState:
        """One of the links."""
        return self.links.get(name, LinkState())


@dataclass(frozen=True)
class Drift:
    """One thing that is wrong: a link that leads elsewhere, a service that should serve, one that takes requests with
    another release, or a second one that runs.

    `started` is when the service started that runs in a link: it may have seen the link while that was right.
    """

    kind: Literal["link", "service", "release", "second"]
    name: str
    what: str
    started: float | None = None


@dataclass(frozen=True)
class DriftReport:
    """What is known of what runs: in a sentence, what is wrong, and whether a person stopped it."""

    summary: str
    drifts: tuple[Drift, ...] = ()
    is_stopped: bool = False


@dataclass(frozen=True)
class DesiredState:
    """What should run: the release, its directory, and the colour that serves where there are two."""

    release: str
    directory: str
    colour: Colour | None

    @property
    def home(self) -> str:
        """The link that the service runs in."""
        return self.colour or "current"


def detect_drift(app: App, wanted: DesiredState, seen: ServiceSnapshot) -> DriftReport:
    """Compare what runs with what should."""
    main, idle = service_names(app, wanted.colour)
    if _is_stopped(app, seen, main, idle):
        return DriftReport(f"{app.service_name} is stopped", is_stopped=True)
    drifts = tuple(_find_drifts(wanted, seen, main, idle))
    return DriftReport("; ".join(drift.what for drift in drifts) or f"{main} runs {wanted.release}", drifts)


def service_names(app: App, colour: Colour | None) -> tuple[str, str | None]:
    """The service that serves, and the one that should be idle."""
    name = app.service_name
    if colour is None:
        return name, None
    return f"{name}-{colour}", f"{name}-{'green' if colour == 'blue' else 'blue'}"


def start_command(app: App, colour: Colour | None) -> str:
    """What a person types to start the service that serves."""
    if app.service.manager == "circus":
        return f"circusctl --endpoint {app.service.endpoint} start {service_names(app, colour)[0]}"
    return f"sudo hookd start {app.name}"


def stop_indicator(app: App) -> str | None:
    """The unit of hookd's that is inactive if, and only if, a person stopped the app."""
    if app.service.units == "existing":
        return None
    return f"{app.service_name}.socket" if app.service.handover == "restart" else app.service_name


def _is_stopped(app: App, seen: ServiceSnapshot, main: str, idle: str | None) -> bool:
    """A service alone may have been stopped or not; with two colours the unit that stands for both knows better."""
    guard = stop_indicator(app)
    if seen.unit(idle).is_up:
        return False
    if guard is not None and seen.unit(guard).state == "inactive":
        return True
    return seen.unit(main).state == "inactive" and (guard is None or idle is None)


def _find_drifts(wanted: DesiredState, seen: ServiceSnapshot, main: str, idle: str | None) -> Iterator[Drift]:
    unit = seen.unit(main)
    for name in dict.fromkeys(("current", wanted.home)):
        if seen.link(name).leads_to != wanted.directory:
            yield Drift("link", name, f"{name} does not lead to {wanted.release}", unit.started)
    if wrong := _failure_of(main, unit):
        yield Drift("service", main, wrong)
    if unit.is_up and _runs_another(unit, wanted, seen.link(wanted.home)):
        yield Drift("release", main, f"{main} runs another release than {wanted.release}")
    if idle is not None and seen.unit(idle).is_up:
        yield Drift("second", idle, f"{idle} runs, too")


def _failure_of(name: str, unit: ServiceState) -> str | None:
    """One that is just starting, or ends and is started again and again, is in its manager's hands."""
    if unit.state == "failed":
        return f"{name} has failed"
    if unit.state == "inactive":
        return f"{name} does not run"
    return None


def _runs_another(unit: ServiceState, wanted: DesiredState, link: LinkState) -> bool:
    """Where a service does not say what it runs, time does: it runs what its link led to when it started.

    So it is wrong if it is older than a link that is right now, or younger than one that is wrong. One that works in no
    release at all, since it was told to go elsewhere, says nothing.
    """
    right = PurePath(wanted.directory)
    if unit.directory is not None and right.parent in PurePath(unit.directory).parents:
        return not PurePath(unit.directory).is_relative_to(right)
    if unit.started is None or link.since is None:
        return False
    return (unit.started < link.since) == (link.leads_to == wanted.directory)
