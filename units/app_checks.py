"""What stands in the way of an app on this host: found before anything is changed, and told all at once."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hookd.contract.catalogue import App, Catalogue
from hookd.contract.names import is_app
from hookd.contract.problems import from_validation
from units import app_claims, disk, layout
from units.app_plan import units_of
from units.errors import Refused
from units.manifest import Manifest
from units.run import CommandFailed, run, succeeds

_SECTION: Final = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_SERVED: Final = re.compile(r"(?:^|[{;])\s*server_name\s+([^;]+);", re.MULTILINE)


def parsed(name: str, table: Mapping[str, Any]) -> App:
    """Read an app's table; raises Refused with all its problems."""
    if not is_app(name):
        raise Refused(
            [f"{name!r} cannot name an app; wanted: a-z, 0-9 and -, a letter first, at most 32 (such as shop)"]
        )
    if "name" in table:
        raise Refused([f"name: not here, since the file's own name says it: {layout.app_file(name)}"])
    try:
        return App.model_validate({**table, "name": name})
    except ValidationError as error:
        raise Refused([str(problem) for problem in from_validation(name, error)]) from None


def check_new(app: App, catalogue: Catalogue, manifest: Manifest, protocols: Iterable[str]) -> None:
    """Raise Refused with everything that stands in the way of a new app; git may use `protocols` here."""
    others = [one for one in catalogue.apps if one.name != app.name]
    known = catalogue.get(app.name)
    if known is not None and known != app:
        raise Refused([f"there is an app {app.name} already"], hint=f"sudo hookd app edit {app.name}")
    reasons = [
        *Catalogue(apps=(*others, app)).clashes(),
        *app_claims.reasons(app, others, protocols),
        *_unit_reasons(app, manifest),
        *domain_reasons(app.site.domain, others, f"hookd-{app.name}"),
        *_directory_reasons(app, manifest),
    ]
    if reasons:
        raise Refused(reasons)


def check_edit(old: App, app: App, catalogue: Catalogue, protocols: Iterable[str]) -> None:
    """Raise Refused with everything that stands in the way of a change to an app that is there."""
    others = [one for one in catalogue.apps if one.name != app.name]
    before, after = _fixed(old), _fixed(app)
    reasons = [
        *(f"{key} cannot be changed: it is {before[key]}" for key in before if before[key] != after[key]),
        *Catalogue(apps=(*others, app)).clashes(),
        *app_claims.reasons(app, others, protocols),
        *domain_reasons(app.site.domain, others, f"hookd-{app.name}"),
    ]
    if reasons:
        raise Refused(reasons)


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
    elif domain in served_domains(own):
        yield f"{domain} is served already by a site below {layout.NGINX}"


def served_domains(own: str) -> set[str]:
    """Every name that nginx answers to now, but for those of the site `own`; none when there is no nginx."""
    try:
        printed = run(("nginx", "-T", "-q"))
    except CommandFailed:
        return set()
    _, *parts = _SECTION.split(printed)
    texts = [
        _COMMENT.sub("", text) for path, text in zip(parts[::2], parts[1::2], strict=True) if Path(path).name != own
    ]
    return {name for text in texts for line in _SERVED.findall(text) for name in line.split()}


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
