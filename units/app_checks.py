"""What stands in the way of an app on this host: found before anything is changed, and told all at once."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from hookd.contract.catalogue import App, Catalogue
from hookd.contract.names import is_app
from hookd.contract.problems import from_validation
from units import disk, layout
from units.app_plan import units_of
from units.errors import Refused
from units.manifest import Manifest
from units.run import CommandFailed, run, succeeds

_SERVED: Final = re.compile(r"^\s*server_name\s+([^;]+);", re.MULTILINE)


def parsed(name: str, table: Mapping[str, Any]) -> App:
    """Read an app's table; raises Refused with all its problems."""
    if not is_app(name):
        raise Refused(
            [f"{name!r} cannot name an app; wanted: a-z, 0-9 and -, a letter first, at most 32 (such as shop)"]
        )
    try:
        return App.model_validate({**table, "name": name})
    except ValidationError as error:
        raise Refused([str(problem) for problem in from_validation(name, error)]) from None


def check_new(app: App, catalogue: Catalogue, manifest: Manifest) -> None:
    """Raise Refused with everything that stands in the way of a new app."""
    others = [one for one in catalogue.apps if one.name != app.name]
    known = catalogue.get(app.name)
    if known is not None and known != app:
        raise Refused([f"there is an app {app.name} already"], hint=f"sudo hookd app edit {app.name}")
    reasons = [
        *Catalogue(apps=(*others, app)).clashes(),
        *_unit_reasons(app, manifest),
        *_domain_reasons(app, others, manifest),
        *_directory_reasons(app, manifest),
    ]
    if reasons:
        raise Refused(reasons)


def _unit_reasons(app: App, manifest: Manifest) -> Iterable[str]:
    if app.service.units == "existing":
        for name in sorted(app.services):
            if not succeeds(("systemctl", "cat", "--", f"{name}.service")):
                yield f"there is no unit {name}.service, and the app's file says that it exists"
        return
    for unit in units_of(app):
        if not manifest.has("file", str(layout.SYSTEMD / unit)) and succeeds(("systemctl", "cat", "--", unit)):
            yield f"there is a unit {unit} already; choose another name, or take it over with: hookd app adopt"


def _domain_reasons(app: App, others: list[App], manifest: Manifest) -> Iterable[str]:
    domain = app.site.domain
    if domain is None:
        return
    if any(one.site.domain == domain for one in others):
        yield f"{domain} is served already, by another app of hookd's"
    elif not manifest.has("file", str(layout.SITES / f"hookd-{app.name}")) and domain in served_domains():
        yield f"{domain} is served already by a site below {layout.NGINX}"


def served_domains() -> set[str]:
    """Every name that nginx answers to now; none when there is no nginx."""
    try:
        printed = run(("nginx", "-T", "-q"))
    except CommandFailed:
        return set()
    return {name for line in _SERVED.findall(printed) for name in line.split()}


def _directory_reasons(app: App, manifest: Manifest) -> Iterable[str]:
    places = {app.root: "root"}
    if app.shared.directories and not app.data_root.is_relative_to(app.root):
        places[app.data_root] = "shared.data"
    for path, key in places.items():
        if manifest.has("kept directory", str(path)):
            continue
        found = disk.status(path)
        if found is not None and (not path.is_dir() or any(path.iterdir())):
            yield f"{path} ({key}) is there already and not empty"
