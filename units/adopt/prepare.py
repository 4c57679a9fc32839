"""Puts everything beside a project before its first release: nothing of it touches what runs."""

from collections.abc import Iterator
from typing import Final

from hookd.files.audit import find_mismatches, repair
from hookd.files.policies import Policy, find_user, secret_policy
from hookd.files.safe_open import Unauditable
from units.adopt import state
from units.adopt.state import Adoption
from units.apps.manage import Server
from units.apps.plan import InitialContents, app_plan, app_toml
from units.apps.secrets import new_secret
from units.host.plan import host_plan
from units.plan.apply import Echo, Installer
from units.plan.manifest import HOST
from units.plan.steps import Directory, File, Link, Plan, PlanStep, Run, User, drop_in_directories
from units.render.app import app_files
from units.render.templates import render
from units.system import layout
from units.system.errors import HostError
from units.system.facts import Host


def first_plan(adoption: Adoption, host: Host) -> Plan:
    """The app as it is while the bridge runs it, and what must be opened for worker and app."""
    files = interim_files(adoption, host, open_door=False)
    given = InitialContents(new_secret(), adoption.environment)
    plan = app_plan(adoption.bridge, app_toml(adoption.name, adoption.interim_table), given, files)
    return (*_membership_steps(adoption), *plan, *_data_steps(adoption))


def _membership_steps(adoption: Adoption) -> list[PlanStep]:
    """The worker gives releases to the app's group, so it must be in it, and learn of that."""
    if adoption.member_of is None:
        return []
    workers = tuple(layout.worker_unit(instance) for instance in layout.INSTANCES)
    return [
        User(layout.WORKER, layout.WORKER, layout.STATE, (adoption.member_of,)),
        Run(("systemctl", "restart", "--no-block", *workers), "workers learn of their new group"),
    ]


def _data_steps(adoption: Adoption) -> list[PlanStep]:
    ownership = adoption.app.ownership
    paths = (adoption.root / name for name in adoption.open_data)
    return [Directory(path, ownership.user, ownership.group, 0o2770, removal="keep") for path in paths]


def prepare(adoption: Adoption, server: Server, echo: Echo) -> None:
    """Put it there, and keep the decision; raises Refused before anything is changed."""
    own = Installer(server.manifest, layout.app_scope(adoption.name), echo)
    own.check(full_plan(adoption, server.host))
    state.save(adoption)
    own.apply(first_plan(adoption, server.host))
    for name in adoption.shared_files:
        _open_shared_file(adoption, name, echo)
    Installer(server.manifest, HOST, echo).apply(host_plan(server.host, server.with_app(adoption.bridge)))


def full_plan(adoption: Adoption, host: Host) -> Plan:
    """All that is made on the way, to be shown and checked before anything is."""
    later = (*public_socket_files(adoption, host), *final_files(adoption, host), *check_files(adoption))
    return tuple(dict.fromkeys((*first_plan(adoption, host), *later)))


def shared_file_changes(adoption: Adoption) -> Iterator[str]:
    """What will be changed of shared files, so that the worker can link them into releases and nobody else reads them.

    Raises OwnershipError.
    """
    for name in adoption.shared_files:
        yield from map(str, find_mismatches(adoption.root / name, _shared_policy(adoption), recursive=False))


def _open_shared_file(adoption: Adoption, name: str, echo: Echo) -> None:
    """Change it; a link itself is left alone."""
    for finding in repair(adoption.root / name, _shared_policy(adoption), recursive=False):
        echo(f"+ {finding}")
        if isinstance(finding, Unauditable) and finding.kind != "link":
            raise HostError(f"{finding}, so releases cannot be given it", hint=f"the same again with --leave {name}")


def _shared_policy(adoption: Adoption) -> Policy:
    worker = find_user(layout.WORKER)
    return secret_policy(adoption.app.ownership, worker.pw_uid, worker.pw_gid)


_DROP_IN: Final = "zz-hookd-adopt.conf"


def interim_files(adoption: Adoption, host: Host, *, open_door: bool) -> tuple[File | Link, ...]:
    """The bridge's units; with an open door it takes visitors' requests, too."""
    own = layout.SYSTEMD / f"{adoption.interim_unit}.service.d" / _DROP_IN
    text = render("adopt/bridge.conf", unit=adoption.unit, bridge=adoption.interim_unit, open_door=open_door)
    copies = (File(layout.SYSTEMD / one.name, one.text, mode=one.mode) for one in adoption.copied)
    # Its socket does not open at boot by itself: the bridge brings it along.
    files = (file for file in app_files(adoption.bridge, host) if not isinstance(file, Link))
    return (*copies, *files, File(own, text))


def public_socket_files(adoption: Adoption, host: Host) -> Plan:
    """The socket that visitors will come through, leading to the bridge for now; it is there after a reboot."""
    if adoption.way == "held":
        return ()
    name = f"{adoption.unit}.socket"
    drop_in = layout.SYSTEMD / f"{name}.d"
    to_bridge = render("adopt/door.conf", bridge=adoption.interim_unit, unit=adoption.unit)
    door = tuple(file for file in app_files(adoption.app, host) if file.path.name == name)
    return (
        Directory(drop_in, "root", "root", 0o755, removal="keep"),
        File(drop_in / _DROP_IN, to_bridge),
        *drop_in_directories(door),
        *door,
    )


def final_files(adoption: Adoption, host: Host) -> tuple[File | Link, ...]:
    """What stays."""
    return app_files(adoption.app, host)


def check_files(adoption: Adoption) -> tuple[File, ...]:
    """The socket on which the real unit is asked before the bridge goes."""
    values = {"unit": adoption.unit, "name": adoption.name, "path": adoption.check_socket}
    return (
        File(layout.SYSTEMD / f"{adoption.unit}-check.socket", render("adopt/check.socket", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}-check.service", render("adopt/check.service", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}.service.d" / _DROP_IN, render("adopt/check.conf", **values)),
    )
