"""Compare what runs with what should run, from values alone: no input or output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Final, Literal

from hookd.model.app import App
from hookd.model.deployment import Step, StepName
from hookd.model.tables.service import Colour, idle_colour
from hookd.model.units.processes import processes_of

_UP: Final = ("active", "reloading")
# Repairs of a process that ends again and again.
_MAX_STARTS: Final = 3
_MEMORY: Final = timedelta(days=1)


@dataclass(frozen=True)
class ServiceState:
    """The state of one service in systemd's words.

    `started` is the start of its process in seconds since 1970, `directory` the directory that the process works in,
    and `processor_time` the time that all its processes have used, in nanoseconds. They are None when unknown.
    """

    state: str = "missing"
    started: float | None = None
    directory: str | None = None
    processor_time: int | None = None

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
    idle: the service of the idle colour runs, or one of its processes. suspended: the serving service gets no processor
    time. process: one beside the web process is down. old process: it runs another release. `started` is the start of
    the service that uses a link, because that service may have read the link before it was changed.
    """

    kind: Literal["link", "service", "release", "idle", "suspended", "process", "old process"]
    name: str
    release: str
    text: str
    started: float | None = None

    @property
    def key(self) -> str:
        """Return the identity of the drift: its kind, the link or service, and the release that should run."""
        return f"{self.kind} {self.name} {self.release}"


def is_unrepaired(drift: Drift, steps: Sequence[Step], now: datetime) -> bool:
    """Return True if one of these past steps restarted the service and the drift remained.

    A process that was started three times in a day and ended again is not started once more.
    """
    same = [step for step in steps if drift.key in (step.detail or "").split("; ")]
    starts = [step for step in same if step.name == StepName.PROCESSES and step.started_at > now - _MEMORY]
    remained = any(step.name == StepName.COMPARE and step.outcome == "failed" for step in same)
    return remained or len(starts) >= _MAX_STARTS


@dataclass(frozen=True)
class Serving:
    """A service that takes requests, and the release that should run in it."""

    name: str
    release: str
    state: ServiceState


@dataclass(frozen=True)
class DriftReport:
    """The drifts of an app, all problems in one sentence, and True if an operator stopped the app.

    `serving` is None if no service takes requests, and `is_healthy` if the health page was not asked.
    """

    summary: str
    drifts: tuple[Drift, ...] = ()
    is_stopped: bool = False
    serving: Serving | None = None
    is_healthy: bool | None = None


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
    drifts = (*_find_drifts(app, desired, snapshot), *_process_drifts(app, desired, snapshot))
    state = snapshot.unit(main)
    summary = "; ".join(drift.text for drift in drifts) or f"{main} runs {desired.release}"
    return DriftReport(summary, drifts, serving=Serving(main, desired.release, state) if state.is_up else None)


def service_names(app: App, colour: Colour | None) -> tuple[str, str | None]:
    """Return the service that serves, and with blue-green the idle one."""
    idle = None if colour is None else app.service_of(idle_colour(colour))
    return app.service_of(colour), idle


def start_command(app: App, colour: Colour | None) -> str:
    """Return circus' command for the serving service, or "" for systemd, where `hookd start` needs no name."""
    if app.uses_systemd:
        return ""
    return f"circusctl --endpoint {app.service.endpoint} start {service_names(app, colour)[0]}"


def stop_indicator(app: App) -> str | None:
    """Return the unit that is inactive exactly when an operator stopped the app, or None without such a unit."""
    if app.service.units == "existing" or app.service.own_address:
        return None
    return f"{app.service_name}.socket" if app.service.handover == "restart" else app.service_name


def _is_stopped(app: App, snapshot: ServiceSnapshot, main: str, idle: str | None) -> bool:
    indicator = stop_indicator(app)
    if snapshot.unit(idle).is_up:
        return False
    if indicator is not None and snapshot.unit(indicator).state == "inactive":
        return True
    return snapshot.unit(main).state == "inactive" and (indicator is None or idle is None)


def _find_drifts(app: App, desired: DesiredState, snapshot: ServiceSnapshot) -> Iterator[Drift]:
    main, idle = service_names(app, desired.colour)
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
    if idle is not None and any(snapshot.unit(name).is_up for name in (idle, *_idle_processes(app, desired))):
        yield Drift("idle", idle, release, f"{idle} runs, too")


def process_names(app: App, colour: Colour | None) -> tuple[str, ...]:
    """Return the processes of a colour by the names that a snapshot has."""
    return tuple(unit.removesuffix(".service") for unit in processes_of(app, colour))


def _idle_processes(app: App, desired: DesiredState) -> tuple[str, ...]:
    return process_names(app, idle_colour(desired.colour)) if desired.colour else ()


def _process_drifts(app: App, desired: DesiredState, snapshot: ServiceSnapshot) -> Iterator[Drift]:
    link, release = snapshot.link(desired.colour or "current"), desired.release
    for name in process_names(app, desired.colour):
        unit = snapshot.unit(name)
        if unit.state in ("failed", "inactive"):
            how = "has failed" if unit.state == "failed" else "does not run"
            yield Drift("process", name, release, f"{name} {how}")
        if unit.is_up and _runs_another_release(unit, desired, link):
            yield Drift("old process", name, release, f"{name} runs another release than {release}")


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
