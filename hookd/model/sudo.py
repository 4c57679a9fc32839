"""The commands that the worker may run as root: a few verbs on the app's own units.

The sudoers files are rendered from this list. A test compares it with the worker's commands.
"""

from typing import Final, Literal

from hookd.model.app import App

SUDO: Final = "/usr/bin/sudo"
SYSTEMCTL: Final = "/usr/bin/systemctl"
Verb = Literal["start", "stop", "restart"]


def verbs(app: App) -> tuple[Verb, ...]:
    """Return the verbs that the app's handover needs."""
    return ("restart",) if app.service.handover == "restart" else ("start", "stop", "restart")


def sudo_commands(app: App) -> tuple[tuple[str, ...], ...]:
    """Return every argument vector that sudo allows for an app, or none if circus runs it."""
    if app.service.manager != "systemd":
        return ()
    return tuple((SYSTEMCTL, verb, f"{name}.service") for name in sorted(app.services) for verb in verbs(app))
