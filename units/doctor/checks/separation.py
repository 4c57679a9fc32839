"""Separation of apps: each has a user and a group of its own, and no unit runs as another user."""

from collections.abc import Iterable, Iterator, Mapping

from hookd.model.app import App
from units.apps.accounts.rules import ownership_conflicts
from units.apps.accounts.unit_users import unit_user_problems
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, warning
from units.system.accounts import groups_of


def check(context: HostContext) -> Iterator[Finding]:
    """Compare the users and groups of all apps of the host."""
    apps = context.config.catalogue.apps
    yield from shared_users(apps)
    yield from shared_groups(apps, {app.ownership.user: groups_of(app.ownership.user) for app in apps})


def shared_users(apps: Iterable[App]) -> Iterator[Finding]:
    """Report each user of several apps, with the command for the second of them."""
    by_user: dict[str, list[App]] = {}
    for app in apps:
        by_user.setdefault(app.ownership.user, []).append(app)
    for user, sharing in by_user.items():
        if len(sharing) > 1:
            names = ", ".join(app.name for app in sharing)
            yield warning(f"{names} all run as {user}: each can stop the others", _own_user_command(sharing[1]))


def _own_user_command(app: App) -> str:
    edit = f"sudo hookd app edit {app.name} --set ownership.user={app.name}"
    if app.service.units == "hookd":
        return edit
    return f"sudo systemctl edit {app.service_name}.service; {edit}"


def shared_groups(apps: Iterable[App], groups: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Report each app whose group, or one of its user's `groups`, is another app's."""
    known = list(apps)
    for app in known:
        user, own = app.ownership.user, app.ownership.group
        strangers = [other for other in known if other.ownership.user != user]
        for group in sorted({own, *groups[user]}):
            if names := ", ".join(other.name for other in strangers if other.ownership.group == group):
                leave = f"sudo hookd app edit {app.name} --set ownership.group={user}"
                hint = leave if group == own else f"sudo gpasswd --delete {user} {group}"
                yield warning(f"{app.name} can read {names}, because of the group {group}", hint)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check the app's user and group, and compare the users of its units with it."""
    for reason in ownership_conflicts(app.ownership):
        yield error(reason.partition("\n")[0], f"sudo hookd app edit {app.name}")
    context.unit(f"{app.service_name}.service")  # Raises CannotCheck if systemd does not answer.
    yield from (error(found.cause, found.hint) for found in unit_user_problems(app))
