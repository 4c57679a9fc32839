"""Renders an app's sudoers file: the worker's commands as root, each with its reason."""

from typing import Final

from hookd.model.app import App
from hookd.model.units.processes import all_processes
from hookd.model.units.systemctl import sudo_commands
from units.changes.change import File
from units.render.templates import render
from units.system import layout

_REASONS: Final = {
    ("start",): "The start after a reboot.",
    ("stop",): "The end of an old release, of an unhealthy one, or of a phase that takes too long.",
    ("restart",): "A deployment with a restart.",
    ("start", "--wait"): "A phase of a deployment, or the list of the releases in use.",
}


def sudoers(app: App) -> tuple[File, ...]:
    """Render the sudoers file of an app. An app that circus runs has none."""
    commands = [(_reason(app, argv), " ".join(argv)) for argv in sudo_commands(app)]
    if not commands:
        return ()
    text = render("app/sudoers", app=app, commands=commands)
    return (File(layout.sudoers(app.name), text, mode=0o440, check=("visudo", "-c", "-q", "-f")),)


def _reason(app: App, argv: tuple[str, ...]) -> str:
    if argv[-1] in all_processes(app):
        return "The processes beside the web process, of one release."
    if argv[-1].removesuffix(".service") in app.service.restart_also:
        return "A service that works in the app's directory."
    return _REASONS[argv[1:-1]]
