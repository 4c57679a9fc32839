"""What stands in the way of an app on this host: found before anything is changed, and told all at once."""

import shutil
from collections.abc import Iterable, Iterator

from hookd.contract.catalogue import App, Catalogue
from units import app_claims, disk, layout
from units.app_plan import units_of
from units.app_table import Reading
from units.manifest import Manifest
from units.nginx_config import parse, server_names
from units.run import CommandFailed, run, succeeds


def new_reasons(reading: Reading, catalogue: Catalogue, manifest: Manifest, protocols: Iterable[str]) -> Iterator[str]:
    """Everything that stands in the way of a new app, in its table and here; git may use `protocols` on this host."""
    app = reading.app
    others = [one for one in catalogue.apps if one.name != app.name]
    known = catalogue.get(app.name)
    yield from reading.problems
    if known is not None and known != app:
        yield f"there is an app {app.name} already; to change it: sudo hookd app edit {app.name}"
        return
    yield from _claims(reading, others, protocols)
    if reading.is_right("name", "service"):
        yield from _unit_reasons(app, manifest)
    yield from domain_reasons(app.site.domain, others, f"hookd-{app.name}")
    yield from _directory_reasons(app, manifest)


def edit_reasons(old: App, reading: Reading, catalogue: Catalogue, protocols: Iterable[str]) -> Iterator[str]:
    """Everything that stands in the way of a change to an app that is there."""
    app = reading.app
    others = [one for one in catalogue.apps if one.name != app.name]
    before, after = _fixed(old), _fixed(app)
    yield from reading.problems
    for key in before:
        if before[key] != after[key] and reading.is_right("root", key.partition(".")[0]):
            yield f"{key} cannot be changed: it is {before[key]}"
    yield from _claims(reading, others, protocols)
    yield from domain_reasons(app.site.domain, others, f"hookd-{app.name}")


def _claims(reading: Reading, others: list[App], protocols: Iterable[str]) -> Iterator[str]:
    """What the app would take from others; nothing is said of values that stand in for wrong ones."""
    app, named = reading.app, reading.is_right("name", "service")
    if named and reading.is_right("root"):
        yield from Catalogue(apps=(*others, app)).clashes()
    allowed = protocols if reading.is_right("repository") else (*protocols, "https")
    yield from app_claims.reasons(app, others if named else (), allowed)


def _fixed(app: App) -> dict[str, object]:
    """What an app keeps as long as it lives: its files and its units have these places and names."""
    return {
        "root": app.root,
        "shared.data": app.data_root,
        "service.manager": app.service.manager,
        "service.units": app.service.units,
        "service.name": app.service_name,
    }


def _unit_reasons(app: App, manifest: Manifest) -> Iterable[str]:
    if app.service.units == "existing":
        for name in sorted(app.services):
            if not succeeds(("systemctl", "cat", "--", f"{name}.service")):
                yield f"there is no unit {name}.service, and the app's file says that it exists"
        return
    for unit in units_of(app):
        if not manifest.has("file", str(layout.SYSTEMD / unit)) and succeeds(("systemctl", "cat", "--", unit)):
            yield f"there is a unit {unit} already; choose another name, or take it over with: hookd app adopt"


def domain_reasons(domain: str | None, others: Iterable[App], own: str) -> Iterable[str]:
    """Say why a domain cannot be taken: who serves it already, other than the site `own`."""
    if domain is None:
        return
    if any(one.site.domain == domain for one in others):
        yield f"{domain} is served already, by another app of hookd's"
        return
    try:
        printed = run(("nginx", "-T", "-q"))
    except CommandFailed as error:
        # A site that is there was asked about when it came, and may be what is to be mended now.
        if shutil.which("nginx") and disk.status(layout.ENABLED_SITES / own) is None:
            yield f"nginx finds a mistake in its own files, so that what it serves cannot be read: {error}"
        return
    if domain in server_names(parse(printed, without=own)):
        yield f"{domain} is served already by a site below {layout.NGINX}"


def _directory_reasons(app: App, manifest: Manifest) -> Iterable[str]:
    places = {app.root: "root"}
    if app.shared.directories and not app.data_root.is_relative_to(app.root):
        places[app.data_root] = "shared.data"
    for path, key in places.items():
        if manifest.has("kept directory", str(path)):
            continue
        found = disk.status(path)
        if found is not None and (not path.is_dir() or any(path.iterdir())):
            yield f"{path} ({key}) is there already and not empty; to begin anew: sudo mv {path} {path}.old"
