"""Decision: builds an adoption from the facts, or reports everything that blocks it. Has no side effects."""

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

# Limits of the catalogue.
_MAX_WORKERS: Final = 64
_MAX_THREADS: Final = 256
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - Addresses of others.
RESERVED: Final = ("releases", "venvs", "current")
_SET_BY_HOOKD: Final = re.compile(r"^\s*(ExecStart|WorkingDirectory|EnvironmentFile|Type|Sockets)\s*=", re.MULTILINE)
_TLS: Final = ("certfile=", "keyfile=")
_MAX_SHOWN: Final = 8


def decide(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Adoption:
    """Build the adoption. Raises Refused with all blockers."""
    blockers = find_blockers(facts, catalogue, manifest)
    if blockers or facts.gunicorn is None or facts.page is None:
        raise Refused(blockers, hint="fix all of it, then the same command again (--dry-run changes nothing)")
    adoption = _adoption(facts, facts.gunicorn, facts.page)
    others = tuple(app for app in catalogue.apps if app.name != adoption.name)
    if conflicts := Catalogue(apps=(*others, parse_app(adoption.name, adoption.table))).conflicts():
        raise Refused(conflicts)
    return adoption


def _adoption(facts: ProjectFacts, gunicorn: GunicornOptions, page: HealthPage) -> Adoption:
    entrance = entrance_of(facts)
    # Behind nginx a new socket of hookd, else the old address.
    socket = f"unix:{layout.SOCKETS}/{facts.options.app}.sock"
    listen = socket if entrance == "nginx" else str(facts.listeners[0])
    group = _group(facts)
    return Adoption(
        name=facts.options.app,
        root=facts.checkout.root,
        unit=facts.service.stem,
        entrance=entrance,
        commit=facts.checkout.commit,
        old_addresses=tuple(map(str, facts.listeners)),
        page=page.path,
        host=page.host,
        table=_table(facts, gunicorn, page, listen, group),
        environment=_environment(facts, gunicorn),
        changes=tuple(
            NginxChange(path=site.path, before=site.before, after=site.after)
            for site in facts.sites
            if site.before != site.after
        ),
        unit_copies=tuple(_unit_copies(facts)),
        opened_data=tuple(_unwritable_data(facts)),
        shared_files=tuple(one.path for one in facts.untracked if one.kind == "file"),
        worker_group=None if group == layout.WEB else group,
    )


def _group(facts: ProjectFacts) -> str:
    """Return the common group of app and worker: www-data if the app is in it, else the app's own."""
    try:
        if grp.getgrnam(layout.WEB).gr_gid in facts.user.groups:
            return layout.WEB
    except KeyError:
        pass
    return grp.getgrgid(pwd.getpwnam(facts.user.name).pw_gid).gr_name


def _table(facts: ProjectFacts, gunicorn: GunicornOptions, page: HealthPage, listen: str, group: str) -> dict[str, Any]:
    """Build the app's file."""
    options, root = facts.options, str(facts.checkout.root)
    wanted = AddOptions(
        name=options.app,
        repository=_repository_url(options.repository or facts.checkout.url or ""),
        branch=options.branch or facts.checkout.branch or "main",
        full_name=options.full_name,
        sender=options.sender,
    )
    url = f"{listen}:{page.path}" if listen.startswith("unix:") else f"http://{_probe_address(listen)}{page.path}"
    return {
        **app_table(wanted, memory_mib=0),
        "root": root,
        "shared": {"root": root, "data": root, **_shared(facts)},
        "ownership": {"policy": options.policy or _policy(facts, group), "group": group, "user": facts.user.name},
        "service": _service(facts, gunicorn, listen),
        "health": {"url": url, "host": page.host},
        **({"dependencies": {"python": str(facts.python)}} if facts.python else {}),
    }


def _shared(facts: ProjectFacts) -> dict[str, list[str]]:
    kinds = {"files": "file", "directories": "data"}
    found = {key: [one.path for one in facts.untracked if one.kind == kind] for key, kind in kinds.items()}
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
        **({"own_socket": True} if entrance_of(facts) == "socket" else {"listen": listen}),
    }


def _repository_url(remote: str) -> str:
    return f"file://{remote}" if remote.startswith("/") else remote


def _probe_address(listen: str) -> str:
    """Return a loopback address for a wildcard address."""
    host, _, port = listen.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"


def _policy(facts: ProjectFacts, group: str) -> str:
    """Choose `split` to keep files readable that others can read today, else `group`."""
    return "group" if group == layout.WEB or not facts.root.st_mode & 0o005 else "split"


def _environment(facts: ProjectFacts, gunicorn: GunicornOptions) -> str:
    root, unit = facts.checkout.root, facts.service
    directory = unit.directory or root
    arguments = [*gunicorn.arguments]
    chdir = variables.relative_to_root(gunicorn.chdir or "", root, directory)
    if chdir != ".":
        arguments.append(f"--chdir={chdir}")
    if path := variables.python_path(facts.variables.get("PYTHONPATH", ""), root, directory):
        arguments.append(f"--pythonpath={path}")
    return variables.environment_text(
        facts.options.app, unit.name, unit.environment, facts.environment_files, arguments
    )


def _unit_copies(facts: ProjectFacts) -> Iterable[CopiedUnitFile]:
    """Copy the unit's files for the interim unit, in the same order and before hookd's own drop-ins."""
    interim = f"{facts.service.stem}-interim.service"
    for number, (path, (text, mode)) in enumerate(facts.unit_texts.items()):
        name = interim if path == facts.service.fragment else f"{interim}.d/{number:02d}-{path.name}"
        yield CopiedUnitFile(name=name, text=text, mode=mode)


def _unwritable_data(facts: ProjectFacts) -> Iterable[str]:
    for one in facts.untracked:
        if one.kind == "data" and not facts.user.may_write((facts.checkout.root / one.path).stat()):
            yield one.path


def find_blockers(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    """Return every reason against the adoption."""
    return [
        *_checkout_blockers(facts),
        *_service_blockers(facts),
        *_gunicorn_blockers(facts),
        *_entrance_blockers(facts),
        *_file_blockers(facts),
        *_host_blockers(facts, catalogue, manifest),
    ]


def entrance_of(facts: ProjectFacts) -> Entrance:
    """Return the entrance of visitors."""
    if facts.service.sockets:
        return "socket"
    return "nginx" if any(site.is_proxy for site in facts.sites) else "direct"


def _checkout_blockers(facts: ProjectFacts) -> Iterable[str]:
    tree, options = facts.checkout, facts.options
    remote = options.repository or tree.url or ""
    if not remote:
        yield "the checkout has no remote: --repo git@HOST:OWNER/NAME.git"
    elif re.match(r"https?://[^/]*@", remote):
        yield "the checkout's remote holds a password, hookd reads with a key: --repo git@HOST:OWNER/NAME.git"
    if not (options.branch or tree.branch):
        yield "the checkout is on no branch: --branch BRANCH"
    if tree.unpushed:
        yield f"{tree.unpushed} commits were never pushed: git push, from {tree.root}"
    if tree.changed and not options.leave_changes:
        changed = _shorten_list(tree.changed)
        yield f"the release would lack uncommitted changes of {changed}: commit and push them, or --leave-changes"
    if taken := sorted({path.split("/")[0] for path in tree.tracked} & {*RESERVED, "venv"}):
        yield f"the repository uses hookd's names {', '.join(taken)}: rename them there"


def _service_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit = facts.service
    if facts.user.name in ("root", layout.WORKER):
        yield f"{unit.name} runs as {facts.user.name}: set User={layout.WEB} in it first, and test the app"
    if unit.fragment.is_relative_to(facts.checkout.root):
        yield f"{unit.fragment} lies in the project, which root must not trust: copy it to {layout.SYSTEMD} first"
    for path in facts.unreadable_files:
        yield f"{path}, of {unit.name}, is a link, a pattern or unreadable: make it a regular file"
    if unit.is_unsupported or "@" in unit.name:
        yield f"{unit.name} is a template, or has DynamicUser= or RootDirectory=: hookd cannot adopt it"
    for path in unit.drop_ins:
        text = facts.unit_texts.get(path, ("", 0))[0]
        if path.name > "hookd.conf" and (found := _SET_BY_HOOKD.search(text)):
            yield f"{path} sets {found[1]} after hookd's drop-in: move its lines into {unit.fragment}"


def _gunicorn_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit = facts.service
    if facts.gunicorn is None:
        yield f"gunicorn's command of {unit.name} cannot be read: {facts.gunicorn_error}"
    elif any(one.startswith(_TLS) for one in facts.gunicorn.dropped):
        yield f"gunicorn of {unit.name} speaks TLS itself: put nginx in front of it first"
    elif any("uvicorn" in one or "--asgi" in one for one in facts.gunicorn.arguments):
        yield f"{unit.name} runs an ASGI worker, hookd runs WSGI apps"
    if facts.page is None:
        asked = facts.options.health or "/healthz, /health or /"
        yield f"the app does not answer 200 on {asked}: --health PATH"


def _entrance_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit, addresses = facts.service, ", ".join(map(str, facts.listeners))
    if not facts.listeners:
        yield f"{unit.name} listens on no address"
    for site in facts.sites:
        if site.unsupported and entrance_of(facts) == "nginx":
            yield f"hookd cannot change {_shorten_list(site.unsupported)} in {site.path}: use proxy_pass there"
    match entrance_of(facts):
        case "socket" if unit.sockets != (f"{unit.stem}.socket",) or len(facts.listeners) != 1:
            yield f"{unit.name} uses {', '.join(unit.sockets)}: hookd needs {unit.stem}.socket with one address"
        case "direct" if facts.listeners and not facts.options.accept_pause:
            yield f"no nginx site passes requests to {addresses}: visitors are refused for a moment; --accept-pause"
        case "direct" if len(facts.listeners) > 1:
            yield f"{unit.name} listens on {addresses}: without nginx hookd adopts one address"


def _file_blockers(facts: ProjectFacts) -> Iterable[str]:
    root, choices = facts.checkout.root, facts.options.choices
    for one in facts.untracked:
        if one.kind == "unclear":
            yield (
                f"{one.path}: {one.reason}. Move it to a directory of its own, or --leave {one.path} (not in "
                f"releases), or --file {one.path} (releases read it)"
            )
    for name in sorted(choices.data | choices.files | choices.leave):
        if not (root / name).exists():
            yield f"{name} is not in {root}"
    for name in sorted(choices.data):
        inside = [path for path in facts.checkout.tracked if path.startswith(f"{name}/")]
        if any(path.count("/") > name.count("/") + 1 or not path.endswith(("keep", ".gitignore")) for path in inside):
            yield f"{name} holds files of the commit ({_shorten_list(inside)}): git rm -r --cached {name}, and push"


def _host_blockers(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Iterable[str]:
    name, unit, root = facts.options.app, facts.service, facts.checkout.root
    known = catalogue.get(name)
    if known is not None and known.root != root:
        yield f"the app {name} exists already: --name NAME"
    if not facts.is_reachable:
        yield f"{layout.WORKER} cannot reach {root}: a directory above it is closed to others"
    is_own = known is not None or manifest.has("file", str(layout.app_file(name)))
    if not is_own and (present := [one for one in RESERVED if (root / one).exists()]):
        yield f"{root} uses hookd's names {', '.join(present)}: rename them first"
    socket = layout.SYSTEMD / f"{unit.stem}.socket"
    if entrance_of(facts) != "socket" and socket.exists() and not manifest.has("file", str(socket)):
        yield f"{socket} exists but {unit.name} does not use it: remove it first"


def _shorten_list(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
    return f"{', '.join(listed[:_MAX_SHOWN])}{more}"
