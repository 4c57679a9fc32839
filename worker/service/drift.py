"""Compare what runs with what should run, from values alone: no input or output."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from hookd.model.app import App
from hookd.model.deployment import Step, StepName
from hookd.model.journal import Colour, idle_colour

_UP: Final = ("active", "reloading")


@dataclass(frozen=True)
class ServiceState:
    """The state of one service in systemd's words.

    `started` is the start of its process in seconds since 1970, `directory` the directory that the process works in.
    Both are None when unknown.
    """

    state: str = "missing"
    started: float | None = None
    directory: str | None = None

    @property
    def is_up(self) -> bool:
        """Return True if the service takes requests."""
        return self.state in _UP


@dataclass(frozen=True)
class LinkState:
    """The target of a link, and the time of its last change in seconds since 1970. Empty for a missing link."""

    leads_to: str = ""
    since: float | None = None


@dataclass(frozen=True)
class ServiceSnapshot:
    """The services and links of an app at one moment, by name."""

    units: Mapping[str, ServiceState]
    links: Mapping[str, LinkState]

    def unit(self, name: str | None) -> ServiceState:
        """Return the state of a service."""
        return self.units.get(name or "", ServiceState())

    def link(self, name: str) -> LinkState:
        """Return the state of a link."""
        return self.links.get(name, LinkState())


@dataclass(frozen=True)
class Drift:
    """One difference between what runs and what should run.

    link: a link has the wrong target. service: the serving service is down. release: it runs another release.
    idle: the service of the idle colour runs. `started` is the start of the service that uses a link, because that
    service may have read the link before it was changed.
    """

    kind: Literal["link", "service", "release", "idle"]
    name: str
    release: str
    text: str
    started: float | None = None

    @property
    def key(self) -> str:
        """Return the identity of the drift: its kind, the link or service, and the release that should run."""
        return f"{self.kind} {self.name} {self.release}"


def is_unrepaired(drift: Drift, steps: Iterable[Step]) -> bool:
    """Return True if one of these past steps restarted the service and the drift remained."""
    failed = (step for step in steps if step.name == StepName.COMPARE and step.outcome == "failed")
    return any(step.detail == drift.key for step in failed)


@dataclass(frozen=True)
class DriftReport:
    """The drifts of an app, all of them in one sentence, and True if an operator stopped the app."""

    summary: str
    drifts: tuple[Drift, ...] = ()
    is_stopped: bool = False


@dataclass(frozen=True)
class DesiredState:
    """The release that should run, its directory, and with blue-green the colour that should serve."""

    release: str
    directory: str
    colour: Colour | None


def detect_drift(app: App, desired: DesiredState, snapshot: ServiceSnapshot) -> DriftReport:
    """Compare what runs with what should run."""
    main, idle = service_names(app, desired.colour)
    if _is_stopped(app, snapshot, main, idle):
        return DriftReport(f"{app.service_name} is stopped", is_stopped=True)
    drifts = tuple(_find_drifts(desired, snapshot, main, idle))
    return DriftReport("; ".join(drift.text for drift in drifts) or f"{main} runs {desired.release}", drifts)


def service_names(app: App, colour: Colour | None) -> tuple[str, str | None]:
    """Return the service that serves, and with blue-green the idle one."""
    idle = None if colour is None else app.service_of(idle_colour(colour))
    return app.service_of(colour), idle


def start_command(app: App, colour: Colour | None) -> str:
    """Return circus' command for the serving service, or "" for systemd, where `hookd start` needs no name."""
    if app.service.manager != "circus":
        return ""
    return f"circusctl --endpoint {app.service.endpoint} start {service_names(app, colour)[0]}"


def stop_indicator(app: App) -> str | None:
    """Return the unit that is inactive exactly when an operator stopped the app, or None if hookd made no units."""
    if app.service.units == "existing":
        return None
    return f"{app.service_name}.socket" if app.service.handover == "restart" else app.service_name


def _is_stopped(app: App, snapshot: ServiceSnapshot, main: str, idle: str | None) -> bool:
    indicator = stop_indicator(app)
    if snapshot.unit(idle).is_up:
        return False
    if indicator is not None and snapshot.unit(indicator).state == "inactive":
        return True
    return snapshot.unit(main).state == "inactive" and (indicator is None or idle is None)


def _find_drifts(desired: DesiredState, snapshot: ServiceSnapshot, main: str, idle: str | None) -> Iterator[Drift]:
    release, unit, link = desired.release, snapshot.unit(main), desired.colour or "current"
    for name in dict.fromkeys(("current", link)):
        if snapshot.link(name).leads_to != desired.directory:
            yield Drift("link", name, release, f"{name} does not lead to {release}", unit.started)
    # Other states pass: the service manager is about to start the service, or restarts it again and again.
    if unit.state == "failed":
        yield Drift("service", main, release, f"{main} has failed")
    if unit.state == "inactive":
        yield Drift("service", main, release, f"{main} does not run")
    if unit.is_up and _runs_another_release(unit, desired, snapshot.link(link)):
        yield Drift("release", main, release, f"{main} runs another release than {release}")
    if idle is not None and snapshot.unit(idle).is_up:
        yield Drift("idle", idle, release, f"{idle} runs, too")


def _runs_another_release(unit: ServiceState, desired: DesiredState, link: LinkState) -> bool:
    """Compare directories if the process works in a release, else compare times.

    A service runs the release that its link led to when it started. It is wrong if it is older than a right link, or
    younger than a wrong one.
    """
    expected = PurePath(desired.directory)
    if unit.directory is not None and expected.parent in PurePath(unit.directory).parents:
        return not PurePath(unit.directory).is_relative_to(expected)
    if unit.started is None or link.since is None:
        return False
    return (unit.started < link.since) == (link.leads_to == desired.directory)
