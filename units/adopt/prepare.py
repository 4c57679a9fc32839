"""Puts everything beside a project before its first release: nothing of it touches what runs."""

from collections.abc import Iterator

from hookd.store.drift import Odd, drift, mend
from hookd.store.ownership import Policy, secret_policy, user_of
from units import layout
from units.adopt import adoption as kept
from units.adopt.adoption import Adoption
from units.adopt.bridge import bridge_files, check_files, door_files, final_files
from units.app_plan import Given, app_plan, app_toml
from units.apps import Server
from units.errors import HostError
from units.host import Host
from units.install import Installer, Say
from units.manifest import HOST
from units.plan import Directory, Plan, Run, Step, User
from units.secrets import new_secret
from units.setup import host_plan


def first_plan(adoption: Adoption, host: Host) -> Plan:
    """The app as it is while the bridge runs it, and what must be opened for worker and app."""
    files = bridge_files(adoption, host, open_door=False)
    given = Given(new_secret(), adoption.environment)
    plan = app_plan(adoption.bridge, app_toml(adoption.name, adoption.bridge_table), given, files)
    return (*_membership(adoption), *plan, *_opened_data(adoption))


def _membership(adoption: Adoption) -> list[Step]:
    """The worker gives releases to the app's group, so it must be in it, and learn of that."""
    if adoption.member_of is None:
        return []
    workers = tuple(layout.worker_unit(instance) for instance in layout.INSTANCES)
    return [
        User(layout.WORKER, layout.WORKER, layout.STATE, (adoption.member_of,)),
        Run(("systemctl", "restart", "--no-block", *workers), "workers learn of their new group"),
    ]


def _opened_data(adoption: Adoption) -> list[Step]:
    ownership = adoption.app.ownership
    paths = (adoption.root / name for name in adoption.open_data)
    return [Directory(path, ownership.user, ownership.group, 0o2770, keep=True) for path in paths]


def prepare(adoption: Adoption, server: Server, say: Say) -> None:
    """Put it there, and keep the decision; raises Refused before anything is changed."""
    own = Installer(server.manifest, layout.app_scope(adoption.name), say)
    own.check(whole_plan(adoption, server.host))
    kept.keep(adoption)
    own.apply(first_plan(adoption, server.host))
    for name in adoption.shared_files:
        _share(adoption, name, say)
    Installer(server.manifest, HOST, say).apply(host_plan(server.host, server.with_app(adoption.bridge)))


def whole_plan(adoption: Adoption, host: Host) -> Plan:
    """All that is made on the way, to be shown and checked before anything is."""
    later = (*door_files(adoption, host), *final_files(adoption, host), *check_files(adoption))
    return tuple(dict.fromkeys((*first_plan(adoption, host), *later)))


def shared_drift(adoption: Adoption) -> Iterator[str]:
    """What will be changed of shared files, so that the worker can link them into releases and nobody else reads them.

    Raises OwnershipError.
    """
    for name in adoption.shared_files:
        yield from map(str, drift(adoption.root / name, _shared_policy(adoption), alone=True))


def _share(adoption: Adoption, name: str, say: Say) -> None:
    """Change it; a link itself is left alone."""
    for finding in mend(adoption.root / name, _shared_policy(adoption), alone=True):
        say(f"+ {finding}")
        if isinstance(finding, Odd) and finding.kind != "link":
            raise HostError(f"{finding}, so releases cannot be given it", hint=f"the same again with --leave {name}")


def _shared_policy(adoption: Adoption) -> Policy:
    worker = user_of(layout.WORKER)
    return secret_policy(adoption.app.ownership, worker.pw_uid, worker.pw_gid)
