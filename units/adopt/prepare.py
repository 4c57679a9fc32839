"""Files of an adoption, and their installation before the first release, which leaves the running project alone."""

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

_DROP_IN: Final = "zz-hookd-adopt.conf"


def prepare(adoption: Adoption, server: Server, echo: Echo) -> None:
    """Save the decision and install the files of the first release. Raises Refused before any change."""
    own = Installer(server.manifest, layout.app_scope(adoption.name), echo)
    own.check(full_plan(adoption, server.host))
    state.save(adoption)
    own.apply(first_plan(adoption, server.host))
    for name in adoption.shared_files:
        _open_shared_file(adoption, name, echo)
    Installer(server.manifest, HOST, echo).apply(host_plan(server.host, server.with_app(adoption.interim_app)))


def full_plan(adoption: Adoption, host: Host) -> Plan:
    """Return all steps of the adoption, to show and to check them before any change."""
    later = (*public_socket_files(adoption, host), *final_files(adoption, host), *check_files(adoption))
    return tuple(dict.fromkeys((*first_plan(adoption, host), *later)))


def first_plan(adoption: Adoption, host: Host) -> Plan:
    """Return the steps before the first release: the interim app, the worker's group and writable data."""
    files = interim_files(adoption, host, is_public=False)
    contents = InitialContents(new_secret(), adoption.environment)
    toml = app_toml(adoption.name, adoption.interim_table)
    return (
        *_membership_steps(adoption),
        *app_plan(adoption.interim_app, toml, contents, files),
        *_data_steps(adoption),
    )


def _membership_steps(adoption: Adoption) -> list[PlanStep]:
    """Add the worker to the app's group, which gets the releases."""
    if adoption.worker_group is None:
        return []
    workers = tuple(layout.worker_unit(instance) for instance in layout.INSTANCES)
    return [
        User(layout.WORKER, layout.WORKER, layout.STATE, (adoption.worker_group,)),
        Run(("systemctl", "restart", "--no-block", *workers), "the workers get their new group"),
    ]


def _data_steps(adoption: Adoption) -> list[PlanStep]:
    ownership = adoption.app.ownership
    paths = (adoption.root / name for name in adoption.opened_data)
    return [Directory(path, ownership.user, ownership.group, 0o2770, removal="keep") for path in paths]


def shared_file_changes(adoption: Adoption) -> Iterator[str]:
    """Return the changes that let the worker link shared files and close them to others. Raises OwnershipError."""
    for name in adoption.shared_files:
        yield from map(str, find_mismatches(adoption.root / name, _shared_policy(adoption), recursive=False))


def _open_shared_file(adoption: Adoption, name: str, echo: Echo) -> None:
    for finding in repair(adoption.root / name, _shared_policy(adoption), recursive=False):
        echo(f"+ {finding}")
        if isinstance(finding, Unauditable) and finding.kind != "link":
            raise HostError(f"{finding}: releases cannot use it", hint=f"the same command with --leave {name}")


def _shared_policy(adoption: Adoption) -> Policy:
    worker = find_user(layout.WORKER)
    return secret_policy(adoption.app.ownership, worker.pw_uid, worker.pw_gid)


def interim_files(adoption: Adoption, host: Host, *, is_public: bool) -> tuple[File | Link, ...]:
    """Return the files of the interim unit, which gets visitors' requests if it `is_public`."""
    own = layout.SYSTEMD / f"{adoption.interim_unit}.service.d" / _DROP_IN
    text = render("adopt/interim.conf", unit=adoption.unit, interim=adoption.interim_unit, is_public=is_public)
    copies = (File(layout.SYSTEMD / one.name, one.text, mode=one.mode) for one in adoption.unit_copies)
    # Without the link that opens its socket at boot: the interim unit starts its socket.
    files = (file for file in app_files(adoption.interim_app, host) if not isinstance(file, Link))
    return (*copies, *files, File(own, text))


def public_socket_files(adoption: Adoption, host: Host) -> Plan:
    """Return the files of visitors' socket, which starts the interim unit, also after a reboot."""
    if adoption.entrance == "socket":
        return ()
    name = f"{adoption.unit}.socket"
    drop_in = layout.SYSTEMD / f"{name}.d"
    text = render("adopt/public_socket.conf", interim=adoption.interim_unit, unit=adoption.unit)
    sockets = tuple(file for file in app_files(adoption.app, host) if file.path.name == name)
    return (
        Directory(drop_in, "root", "root", 0o755, removal="keep"),
        File(drop_in / _DROP_IN, text),
        *drop_in_directories(sockets),
        *sockets,
    )


def final_files(adoption: Adoption, host: Host) -> tuple[File | Link, ...]:
    """Return the files that stay after the adoption."""
    return app_files(adoption.app, host)


def check_files(adoption: Adoption) -> tuple[File, ...]:
    """Return the files of the socket that checks the project's unit before the interim unit stops."""
    values = {"unit": adoption.unit, "name": adoption.name, "path": adoption.check_socket}
    return (
        File(layout.SYSTEMD / f"{adoption.unit}-check.socket", render("adopt/check.socket", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}-check.service", render("adopt/check.service", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}.service.d" / _DROP_IN, render("adopt/check.conf", **values)),
    )
