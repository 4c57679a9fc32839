"""What the worker may do as root: for each app a few verbs on its own units, and nothing else.

The sudoers files are made from this and `worker/release/symlinks.py` can say no more; a test compares the two.
"""

from typing import Final, Literal

from hookd.model.app import App

SUDO: Final = "/usr/bin/sudo"
SYSTEMCTL: Final = "/usr/bin/systemctl"
Verb = Literal["start", "stop", "restart"]


def verbs(app: App) -> tuple[Verb, ...]:
    """Which verbs the app's handover needs: a single service is only restarted, two take turns."""
    return ("restart",) if app.service.handover == "restart" else ("start", "stop", "restart")


def sudo_commands(app: App) -> tuple[tuple[str, ...], ...]:
    """Every argument vector that the worker may run as root for an app; none when systemd does not run it."""
    if app.service.manager != "systemd":
        return ()
    return tuple((SYSTEMCTL, verb, f"{name}.service") for name in sorted(app.services) for verb in verbs(app))
