"""Decides from what was found how a project is taken over, or says everything that stands in the way; pure."""

import grp
import pwd
import re
from collections.abc import Iterable
from typing import Any, Final

from hookd.model.app import Catalogue
from units.adopt.discovery import variables
from units.adopt.discovery.gunicorn_options import GunicornOptions
from units.adopt.facts import HealthPage, ProjectFacts
from units.adopt.state import Adoption, CopiedUnitFile, Entrance, NginxChange
from units.apps.options import AddOptions, app_table
from units.apps.table import parse_app
from units.plan.manifest import Manifest
from units.system import layout
from units.system.errors import Refused

# What the catalogue allows.
_MAX_WORKERS: Final = 64
_MAX_THREADS: Final = 256
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - What others listen on.


def decide(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Adoption:
    """Decide; raises Refused with all reasons at once."""
    reasons = find_blockers(facts, catalogue, manifest)
    if reasons or facts.gunicorn is None or facts.page is None:
        raise Refused(reasons, hint="mend it, then the same command again; --dry-run changes nothing")
    adoption = _adoption(facts, facts.gunicorn, facts.page)
    others = tuple(app for app in catalogue.apps if app.name != adoption.name)
    if conflicts := Catalogue(apps=(*others, parse_app(adoption.name, adoption.table))).conflicts():
        raise Refused(conflicts)
    return adoption


def _adoption(facts: ProjectFacts, gunicorn: GunicornOptions, page: HealthPage) -> Adoption:
    way = entrance_of(facts)
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
            NginxChange(path=site.path, before=site.before, after=site.after)
            for site in facts.sites
            if site.before != site.after
        ),
        copied=tuple(_unit_copies(facts)),
        open_data=tuple(_unwritable_data(facts)),
        shared_files=tuple(one.path for one in facts.loose if one.kind == "file"),
        member_of=None if group == layout.WEB else group,
    )


def _group(facts: ProjectFacts) -> str:
    """The group that app and worker share: www-data if the app is in it, else the app's own."""
    try:
        if grp.getgrnam(layout.WEB).gr_gid in facts.person.groups:
            return layout.WEB
    except KeyError:
        pass
    return grp.getgrgid(pwd.getpwnam(facts.person.name).pw_gid).gr_name


def _table(facts: ProjectFacts, gunicorn: GunicornOptions, page: HealthPage, listen: str, group: str) -> dict[str, Any]:
    """The app's file in the catalogue."""
    wanted, root = facts.options, str(facts.checkout.root)
    wish = AddOptions(
        name=wanted.app,
        repository=_repository_url(wanted.repository or facts.checkout.url or ""),
        branch=wanted.branch or facts.checkout.branch or "main",
        full_name=wanted.full_name,
        sender=wanted.sender,
    )
    url = f"{listen}:{page.path}" if listen.startswith("unix:") else f"http://{_probe_address(listen)}{page.path}"
    return {
        **app_table(wish, memory_mib=0),
        "root": root,
        "shared": {"root": root, "data": root, **_shared(facts)},
        "ownership": {"policy": wanted.policy or _policy(facts, group), "group": group, "user": facts.person.name},
        "service": _service(facts, gunicorn, listen),
        "health": {"url": url, "host": page.host},
        **({"dependencies": {"python": str(facts.python)}} if facts.python else {}),
    }


def _shared(facts: ProjectFacts) -> dict[str, list[str]]:
    kinds = {"files": "file", "directories": "data"}
    found = {key: [one.path for one in facts.loose if one.kind == kind] for key, kind in kinds.items()}
    return {key: names for key, names in found.items() if names}


def _service(facts: ProjectFacts, gunicorn: GunicornOptions, listen: str) -> dict[str, Any]:
    return {
        "name": facts.service.stem,
        "units": "existing",
        "handover": "restart",
        "entry": facts.options.entry or gunicorn.entry,
        "workers": min(gunicorn.workers, _MAX_WORKERS),
        "threads": min(gunicorn.threads, _MAX_THREADS),
        "environment_file": str(layout.app_environment(facts.options.app)),
        **({"own_socket": True} if entrance_of(facts) == "held" else {"listen": listen}),
    }


def _repository_url(remote: str) -> str:
    """A remote as the catalogue wants it: a path on this host is a URL there."""
    return f"file://{remote}" if remote.startswith("/") else remote


def _probe_address(listen: str) -> str:
    """Where to ask somebody who listens on all addresses."""
    host, _, port = listen.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"


def _policy(facts: ProjectFacts, group: str) -> str:
    """Closed to others where the app is in the web server's group; else what others can read today they still can."""
    return "group" if group == layout.WEB or not facts.root.st_mode & 0o005 else "split"


def _environment(facts: ProjectFacts, gunicorn: GunicornOptions) -> str:
    root = facts.checkout.root
    place = facts.service.directory or root
    more = [*gunicorn.arguments]
    where = variables.relative_to_root(gunicorn.chdir or "", root, place)
    if where != ".":
        more.append(f"--chdir={where}")
    if path := variables.python_path(facts.variables.get("PYTHONPATH", ""), root, place):
        more.append(f"--pythonpath={path}")
    unit = facts.service
    return variables.environment_text(facts.options.app, unit.name, unit.environment, facts.texts, more)


def _unit_copies(facts: ProjectFacts) -> Iterable[CopiedUnitFile]:
    """The unit's files under the names that its stand-in reads them by, in the same order and before hookd's own."""
    bridge = f"{facts.service.stem}-bridge.service"
    for number, (path, (text, mode)) in enumerate(facts.unit_texts.items()):
        name = bridge if path == facts.service.fragment else f"{bridge}.d/{number:02d}-{path.name}"
        yield CopiedUnitFile(name=name, text=text, mode=mode)


def _unwritable_data(facts: ProjectFacts) -> Iterable[str]:
    """Data directories that the app cannot write to today."""
    for one in facts.loose:
        if one.kind == "data" and not facts.person.may_write((facts.checkout.root / one.path).stat()):
            yield one.path


RESERVED: Final = ("releases", "venvs", "current")
_SET_BY_HOOKD: Final = re.compile(r"^\s*(ExecStart|WorkingDirectory|EnvironmentFile|Type|Sockets)\s*=", re.MULTILINE)
_TLS: Final = ("certfile=", "keyfile=")
_MAX_SHOWN: Final = 8


def find_blockers(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    """Every reason not to begin."""
    return [
        *_checkout_blockers(facts),
        *_service_blockers(facts),
        *_gunicorn_blockers(facts),
        *_entrance_blockers(facts),
        *_file_blockers(facts),
        *_host_blockers(facts, catalogue, manifest),
    ]


def entrance_of(facts: ProjectFacts) -> Entrance:
    """How visitors reach the project."""
    if facts.service.sockets:
        return "held"
    return "nginx" if any(site.passes for site in facts.sites) else "direct"


def _checkout_blockers(facts: ProjectFacts) -> Iterable[str]:
    tree, wanted = facts.checkout, facts.options
    if not (wanted.repository or tree.url):
        yield "the checkout has no remote: --repo git@HOST:OWNER/NAME.git"
    elif _has_password(wanted.repository or tree.url or ""):
        yield "the checkout's remote holds a password, and hookd reads with a key: --repo git@HOST:OWNER/NAME.git"
    if not (wanted.branch or tree.branch):
        yield "the checkout is on no branch: --branch BRANCH"
    if tree.unpushed:
        yield f"{tree.unpushed} commits were never pushed: git push, from {tree.root}"
    if tree.changed and not wanted.leave_changes:
        yield (
            f"these differ from the commit and would not be in the release: {_shorten_list(tree.changed)}; "
            "commit and push them, or --leave-changes"
        )
    tops = {path.split("/")[0] for path in tree.tracked}
    if taken := sorted(tops & {*RESERVED, "venv"}):
        yield f"the repository has {', '.join(taken)} of its own, where hookd puts releases: rename it there"


def _service_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit = facts.service
    if facts.person.name in ("root", layout.WORKER):
        yield f"{unit.name} runs as {facts.person.name}: set User={layout.WEB} in it first, and see that the app works"
    if unit.fragment.is_relative_to(facts.checkout.root):
        yield f"{unit.fragment} lies in the project, where root must not read units: copy it to {layout.SYSTEMD} first"
    for path in facts.unread:
        yield f"{path}, of {unit.name}, is a link, a pattern, or cannot be read: make it a plain file"
    if unit.is_odd or "@" in unit.name:
        yield f"{unit.name} is a template, or has DynamicUser= or RootDirectory=: hookd cannot take over such a unit"
    for path in unit.drop_ins:
        text = facts.unit_texts.get(path, ("", 0))[0]
        if path.name > "hookd.conf" and (found := _SET_BY_HOOKD.search(text)):
            yield f"{path} sets {found[1]} after hookd would: move its lines into {unit.fragment}"


def _gunicorn_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit = facts.service
    if facts.gunicorn is None:
        yield f"{unit.name} does not start gunicorn in a way that can be read: {facts.why_no_gunicorn}"
    elif any(one.startswith(_TLS) for one in facts.gunicorn.dropped):
        yield f"gunicorn of {unit.name} speaks TLS itself: put nginx in front of it first"
    elif any("uvicorn" in one or "--asgi" in one for one in facts.gunicorn.arguments):
        yield f"{unit.name} runs an ASGI worker, and hookd runs WSGI apps"
    if facts.page is None:
        asked = facts.options.health or "/healthz, /health or /"
        yield f"the app does not answer 200 on {asked}: --health PATH, a page that does when the app is well"


def _entrance_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit, olds = facts.service, ", ".join(map(str, facts.olds))
    if not facts.olds:
        yield f"{unit.name} listens nowhere that could be found"
    for site in facts.sites:
        if site.unknown and entrance_of(facts) == "nginx":
            targets = _shorten_list(site.unknown)
            yield f"{site.path} leads to {targets} in a way that hookd cannot change: use proxy_pass there"
    match entrance_of(facts):
        case "held" if unit.sockets != (f"{unit.stem}.socket",) or len(facts.olds) != 1:
            yield f"{unit.name} gets its sockets from {', '.join(unit.sockets)}; wanted: {unit.stem}.socket, with one"
        case "direct" if facts.olds and not facts.options.accept_pause:
            yield (
                f"no site of nginx's passes requests to {olds}: whoever comes straight there is refused, or cut off, "
                "for the moment in which it changes hands; --accept-pause"
            )
        case "direct" if len(facts.olds) > 1:
            yield f"{unit.name} listens at {olds}; without nginx in front hookd takes over one address"


def _file_blockers(facts: ProjectFacts) -> Iterable[str]:
    root, wishes = facts.checkout.root, facts.options.wishes
    for one in facts.loose:
        if one.kind == "unclear":
            yield (
                f"{one.path}: {one.why}. Let the app keep it in a directory of its own, or say --leave {one.path} "
                f"(no release sees it) or --file {one.path} (releases read it)"
            )
    for name in sorted(wishes.data | wishes.files | wishes.leave):
        if not (root / name).exists():
            yield f"{name} is not in {root}"
    for name in sorted(wishes.data):
        inside = [path for path in facts.checkout.tracked if path.startswith(f"{name}/")]
        if any(path.count("/") > name.count("/") + 1 or not path.endswith(("keep", ".gitignore")) for path in inside):
            yield f"{name} holds files of the commit ({_shorten_list(inside)}): git rm -r --cached {name}, and push"


def _host_blockers(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Iterable[str]:
    name, unit = facts.options.app, facts.service
    known = catalogue.get(name)
    if known is not None and known.root != facts.checkout.root:
        yield f"there is an app {name} already: --name NAME"
    if not facts.reachable:
        yield f"{layout.WORKER} cannot get to {facts.checkout.root}: a directory above it is closed to others"
    mine = known is not None or manifest.has("file", str(layout.app_file(name)))
    if not mine and (there := [one for one in RESERVED if (facts.checkout.root / one).exists()]):
        yield f"{facts.checkout.root} has {', '.join(there)} already, where hookd would put its own"
    socket = layout.SYSTEMD / f"{unit.stem}.socket"
    if entrance_of(facts) != "held" and socket.exists() and not manifest.has("file", str(socket)):
        yield f"{socket} is there already, and {unit.name} does not use it: remove it first"


def _has_password(url: str) -> bool:
    return re.match(r"https?://[^/]*@", url) is not None


def _shorten_list(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
    return f"{', '.join(listed[:_MAX_SHOWN])}{more}"
