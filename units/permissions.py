"""What is to be right for an app on a host, path by path: who owns it, who else may use it, with which modes."""

import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hookd.contract.catalogue import App
from hookd.contract.places import Places
from hookd.contract.settings import Settings
from hookd.store.ownership import PRIVATE, SHUT, Policy, code_policy, data_policy, environment_policy, secret_policy
from units import layout

# A path alone, a tree, every tree in a directory, or a tree of the app's own, which is only looked at.
Reach = Literal["alone", "tree", "each", "look"]


@dataclass(frozen=True)
class Rule:
    """A path, its policy, how far that reaches, and whether something must be there."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> tuple[Rule, ...]:
    """Say what is to be right for an app; raises OwnershipError for a user or group that does not exist."""
    places = Places(app.root, settings, app.name)
    code = code_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    return (
        Rule(places.root, code, needed=True),
        Rule(places.releases, code, "each"),
        Rule(places.venvs, environment_policy(code), "each"),
        *_shared(app, worker, code),
        *_data(app),
        *_state(app, settings, places, worker),
    )


def _shared(app: App, worker: pwd.struct_passwd, code: Policy) -> Iterator[Rule]:
    secret = secret_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    if app.shared_root.is_relative_to(app.root):
        yield Rule(app.shared_root, code)
    for name in app.shared.files:
        yield Rule(app.shared_root / name, secret, needed=True)


def _data(app: App) -> Iterator[Rule]:
    """The app's own directories: each itself is set right; what the app put into it is the app's."""
    for name in app.shared.directories:
        policy = data_policy(app.ownership)
        yield Rule(app.data_root / name, policy)
        yield Rule(app.data_root / name, policy, "look")


def _state(app: App, settings: Settings, places: Places, worker: pwd.struct_passwd) -> Iterator[Rule]:
    """What only the worker uses: a file of root's in it, left by a command typed as root, stops every deployment."""
    mine = Policy(worker.pw_uid, None)
    if app.deploy_key is not None:
        yield Rule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    if app.build.environment_file == layout.app_environment(app.name):
        # Root's own: systemd reads it as root, so nobody else may say what it is.
        yield Rule(layout.app_environment(app.name), Policy(0, worker.pw_gid, SHUT), needed=True)
    yield from (Rule(path, mine) for path in (settings.state, places.journal, places.lock))
    trees = (places.mirror, places.cache, places.home, settings.log_directory(app.name))
    yield from (Rule(path, mine, "tree") for path in trees)
