"""Files of an adoption, and their installation before the first release, which leaves the running project alone."""

from collections.abc import Iterator
from typing import Final

from hookd.files.ownership.audit import audit
from hookd.files.ownership.policies import Policy, require_user, secret_policy
from hookd.files.safe_open import Unauditable
from units.adopt import state
from units.adopt.state import Adoption
from units.apps.changes import InitialContents, app_changes, app_toml
from units.apps.manage import Server
from units.apps.secrets import new_secret
from units.changes.apply import Echo, Installer
from units.changes.change import Changes, File, Link, drop_in_directories
from units.changes.manifest import HOST
from units.host.changes import host_changes
from units.render.app import app_files
from units.render.templates import render
from units.system import layout
from units.system.errors import HostError
from units.system.facts import Host

DROP_IN: Final = "zz-hookd-adopt.conf"


def prepare(adoption: Adoption, server: Server, echo: Echo, again: str) -> None:
    """Save the decision and install the files of the first release. Raises Refused before any change.

    `again` is the command to type after a HostError.
    """
    own = Installer(server.manifest, layout.app_scope(adoption.name), echo)
    own.check(all_changes(adoption, server.host))
    state.save(adoption)
    own.apply(first_changes(adoption, server.host))
    # The directory is the worker's now. git runs as one user, also when this command is typed again.
    for _ in audit(adoption.root / ".git", _checkout_policy(), repairs=True):
        pass
    for name in adoption.app.shared.files:
        for finding in audit(adoption.root / name, _shared_policy(adoption), recursive=False, repairs=True):
            echo(f"+ {finding}")
            if isinstance(finding, Unauditable) and finding.kind != "link":
                raise HostError(f"{finding}: releases cannot use it", hint=f"{again} --leave {name}")
    Installer(server.manifest, HOST, echo).apply(host_changes(server.host, server.with_app(adoption.interim_app)))


def all_changes(adoption: Adoption, host: Host) -> Changes:
    """Return all changes of the adoption, to show and check them before the first."""
    later = (*public_socket_files(adoption, host), *app_files(adoption.app, host), *trial_files(adoption))
    return tuple(dict.fromkeys((*first_changes(adoption, host), *later)))


def first_changes(adoption: Adoption, host: Host) -> Changes:
    """Return the changes before the first release, which install the interim app."""
    files = interim_files(adoption, host, is_public=False)
    contents = InitialContents(new_secret(), adoption.environment)
    return app_changes(adoption.interim_app, app_toml(adoption.name, adoption.interim_table), contents, files)


def shared_file_changes(adoption: Adoption) -> Iterator[str]:
    """Return the changes that let the worker link shared files and close them to others, and read the checkout.

    Raises OwnershipError.
    """
    yield from map(str, audit(adoption.root / ".git", _checkout_policy(), recursive=False))
    for name in adoption.app.shared.files:
        yield from map(str, audit(adoption.root / name, _shared_policy(adoption), recursive=False))


def _checkout_policy() -> Policy:
    return Policy(require_user(layout.WORKER).pw_uid, None)


def _shared_policy(adoption: Adoption) -> Policy:
    worker = require_user(layout.WORKER)
    return secret_policy(adoption.app.ownership, worker.pw_uid, worker.pw_gid)


def interim_files(adoption: Adoption, host: Host, *, is_public: bool) -> tuple[File | Link, ...]:
    """Return the files of the interim unit, which gets visitors' requests if it `is_public`."""
    own = layout.SYSTEMD / f"{adoption.interim_unit}.service.d" / DROP_IN
    text = render("adopt/interim.conf", unit=adoption.unit, interim=adoption.interim_unit, is_public=is_public)
    copies = (File(layout.SYSTEMD / name, copy, mode=0o600) for name, copy in adoption.unit_copies.items())
    # Without the link that opens its socket at boot: the interim unit starts its socket.
    files = (file for file in app_files(adoption.interim_app, host) if not isinstance(file, Link))
    return (*copies, *files, File(own, text))


def public_socket_files(adoption: Adoption, host: Host) -> Changes:
    """Return the files of visitors' socket, which starts the interim unit, also after a reboot."""
    if adoption.app.service.own_socket:
        return ()
    name = f"{adoption.unit}.socket"
    text = render("adopt/public_socket.conf", interim=adoption.interim_unit, unit=adoption.unit)
    sockets = (file for file in app_files(adoption.app, host) if file.path.name == name)
    files = (File(layout.SYSTEMD / f"{name}.d" / DROP_IN, text), *sockets)
    return (*drop_in_directories(files), *files)


def trial_files(adoption: Adoption) -> tuple[File, ...]:
    """Return the files of the socket that checks the project's unit before the interim unit stops."""
    values = {"unit": adoption.unit, "name": adoption.name, "path": adoption.check_socket}
    return (
        File(layout.SYSTEMD / f"{adoption.unit}-trial.socket", render("adopt/trial.socket", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}-trial.service", render("adopt/trial.service", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}.service.d" / DROP_IN, render("adopt/trial.conf", **values)),
    )
