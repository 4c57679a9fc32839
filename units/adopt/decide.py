"""Decides from what was found how a project is taken over, or says everything that stands in the way; pure."""

import grp
import pwd
from collections.abc import Iterable
from typing import Any, Final

from hookd.contract.catalogue import Catalogue
from units import layout
from units.adopt import variables
from units.adopt.adoption import Adoption, Change, Copied
from units.adopt.facts import Facts, Page
from units.adopt.options import Gunicorn
from units.adopt.reasons import in_the_way, way_of
from units.app_table import parsed
from units.errors import Refused
from units.manifest import Manifest
from units.wish import Wish, table_of

# What the catalogue allows.
_MOST_WORKERS: Final = 64
_MOST_THREADS: Final = 256
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - What others listen on.


def decide(facts: Facts, catalogue: Catalogue, manifest: Manifest) -> Adoption:
    """Decide; raises Refused with all reasons at once."""
    reasons = in_the_way(facts, catalogue, manifest)
    if reasons or facts.gunicorn is None or facts.page is None:
        raise Refused(reasons, hint="mend it, then the same command again; --dry-run changes nothing")
    adoption = _adoption(facts, facts.gunicorn, facts.page)
    others = tuple(app for app in catalogue.apps if app.name != adoption.name)
    if clashes := Catalogue(apps=(*others, parsed(adoption.name, adoption.table))).clashes():
        raise Refused(clashes)
    return adoption


def _adoption(facts: Facts, gunicorn: Gunicorn, page: Page) -> Adoption:
    way = way_of(facts)
    # A socket of hookd's beside the old address, or the old address itself.
    listen = f"unix:{layout.SOCKETS}/{facts.options.app}.sock" if way == "nginx" else str(facts.olds[0])
    group = _group(facts)
    return Adoption(
        name=facts.options.app,
        root=facts.checkout.root,
        unit=facts.service.stem,
        way=way,
        commit=facts.checkout.commit,
        olds=tuple(map(str, facts.olds)),
        page=page.path,
        host=page.host,
        table=_table(facts, gunicorn, page, listen, group),
        environment=_environment(facts, gunicorn),
        changes=tuple(
            Change(path=site.path, before=site.before, after=site.after)
            for site in facts.sites
            if site.before != site.after
        ),
        copied=tuple(_copied(facts)),
        open_data=tuple(_closed_data(facts)),
        shared_files=tuple(one.path for one in facts.loose if one.kind == "file"),
        member_of=None if group == layout.WEB else group,
    )


def _group(facts: Facts) -> str:
    """The group that app and worker share: www-data if the app is in it, else the app's own."""
    try:
        if grp.getgrnam(layout.WEB).gr_gid in facts.person.groups:
            return layout.WEB
    except KeyError:
        pass
    return grp.getgrgid(pwd.getpwnam(facts.person.name).pw_gid).gr_name


def _table(facts: Facts, gunicorn: Gunicorn, page: Page, listen: str, group: str) -> dict[str, Any]:
    """The app's file in the catalogue."""
    wanted, root = facts.options, str(facts.checkout.root)
    wish = Wish(
        name=wanted.app,
        repository=_url(wanted.repository or facts.checkout.url or ""),
        branch=wanted.branch or facts.checkout.branch or "main",
        full_name=wanted.full_name,
        sender=wanted.sender,
    )
    url = f"{listen}:{page.path}" if listen.startswith("unix:") else f"http://{_asked(listen)}{page.path}"
    return {
        **table_of(wish, memory_mib=0),
        "root": root,
        "shared": {"root": root, "data": root, **_shared(facts)},
        "ownership": {"policy": wanted.policy or _policy(facts, group), "group": group, "user": facts.person.name},
        "service": _service(facts, gunicorn, listen),
        "health": {"url": url, "host": page.host},
        **({"dependencies": {"python": str(facts.python)}} if facts.python else {}),
    }


def _shared(facts: Facts) -> dict[str, list[str]]:
    kinds = {"files": "file", "directories": "data"}
    found = {key: [one.path for one in facts.loose if one.kind == kind] for key, kind in kinds.items()}
    return {key: names for key, names in found.items() if names}


def _service(facts: Facts, gunicorn: Gunicorn, listen: str) -> dict[str, Any]:
    return {
        "name": facts.service.stem,
        "units": "existing",
        "handover": "restart",
        "entry": facts.options.entry or gunicorn.entry,
        "workers": min(gunicorn.workers, _MOST_WORKERS),
        "threads": min(gunicorn.threads, _MOST_THREADS),
        "environment_file": str(layout.app_environment(facts.options.app)),
        **({"own_socket": True} if way_of(facts) == "held" else {"listen": listen}),
    }


def _url(remote: str) -> str:
    """A remote as the catalogue wants it: a path on this host is a URL there."""
    return f"file://{remote}" if remote.startswith("/") else remote


def _asked(listen: str) -> str:
    """Where to ask somebody who listens on all addresses."""
    host, _, port = listen.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


def _policy(facts: Facts, group: str) -> str:
    """Closed to others where the app is in the web server's group; else what others can read today they still can."""
    return "group" if group == layout.WEB or not facts.root.st_mode & 0o005 else "split"


def _environment(facts: Facts, gunicorn: Gunicorn) -> str:
    root = facts.checkout.root
    place = facts.service.directory or root
    more = [*gunicorn.arguments]
    where = variables.relative(gunicorn.chdir or "", root, place)
    if where != ".":
        more.append(f"--chdir={where}")
    if path := variables.python_path(facts.variables.get("PYTHONPATH", ""), root, place):
        more.append(f"--pythonpath={path}")
    unit = facts.service
    return variables.gathered(facts.options.app, unit.name, unit.environment, facts.texts, more)


def _copied(facts: Facts) -> Iterable[Copied]:
    """The unit's files under the names that its stand-in reads them by, in the same order and before hookd's own."""
    bridge = f"{facts.service.stem}-bridge.service"
    for number, (path, (text, mode)) in enumerate(facts.unit_texts.items()):
        name = bridge if path == facts.service.fragment else f"{bridge}.d/{number:02d}-{path.name}"
        yield Copied(name=name, text=text, mode=mode)


def _closed_data(facts: Facts) -> Iterable[str]:
    """Data directories that the app cannot write to today."""
    for one in facts.loose:
        if one.kind == "data" and not facts.person.may_write((facts.checkout.root / one.path).stat()):
            yield one.path
