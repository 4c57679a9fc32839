"""Renders the units of an app's processes and timers."""

from collections.abc import Iterator, Mapping

from hookd.model.app import App
from hookd.model.units.processes import process_instances, template_of
from units.changes.change import File
from units.render.templates import render
from units.system import layout


def process_files(app: App, sandbox: Mapping[str, object]) -> Iterator[File]:
    """Render the units of an app's processes and timers. `sandbox` holds the values of the service's sandbox."""
    for name, process in app.processes.items():
        for colour in app.colours or (None,):
            unit, home = template_of(process_instances(app, name, colour)[0]), app.root / (colour or "current")
            values = {"app": app, "name": name, "unit": unit, "colour": colour, "home": home, "process": process}
            yield File(layout.SYSTEMD / unit, render("app/process.service", **values, **sandbox))
    for name, timer in app.timers.items():
        unit, home = f"{app.name}-{name}.service", app.root / "current"
        values = {"app": app, "name": name, "unit": unit, "home": home, "timer": timer}
        yield File(layout.SYSTEMD / unit, render("app/timed.service", **values, **sandbox))
        yield File(layout.SYSTEMD / f"{app.name}-{name}.timer", render("app/timer", **values))
