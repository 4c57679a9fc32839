"""Decision: builds an adoption from the facts, or reports everything that blocks it. Has no side effects."""

import grp
import pwd
import re
from collections.abc import Iterable
from typing import Any, Final

from hookd.commands import edit_command
from hookd.model.catalogue import Catalogue
from hookd.model.ids import is_app
from hookd.model.tables.files import Ownership
from hookd.variables import misread
from units.adopt.discover import ProjectFacts
from units.adopt.discovery import variables
from units.adopt.discovery.untracked import RESERVED, fixed_directories
from units.adopt.state import Adoption
from units.apps.accounts.rules import ownership_conflicts
from units.apps.conflicts import earlier_variables
from units.apps.table.options import AddOptions, app_table
from units.apps.variables import describe_problems
from units.changes.manifest import Manifest
from units.system import layout
from units.system.errors import Refused

_SET_BY_HOOKD: Final = re.compile(r"^\s*(ExecStart|WorkingDirectory|EnvironmentFile|Type|Sockets)\s*=", re.MULTILINE)
_MAX_SHOWN: Final = 8


def decide(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Adoption:
    """Build the adoption. Raises Refused with all blockers."""
    blockers = [
        *_checkout_blockers(facts),
        *_service_blockers(facts),
        *_visitor_blockers(facts),
        *_file_blockers(facts),
        *_host_blockers(facts, catalogue, manifest),
    ]
    if blockers or facts.page is None:
        raise Refused(blockers)
    adoption = _adoption(facts, facts.page)
    others = tuple(app for app in catalogue.apps if app.name != adoption.name)
    if conflicts := Catalogue(apps=(*others, adoption.app)).conflicts():
        raise Refused([str(conflict) for conflict in conflicts])
    return adoption


def _adoption(facts: ProjectFacts, page: str) -> Adoption:
    return Adoption(
        name=facts.options.name,
        root=facts.checkout.root,
        unit=facts.service.stem,
        commit=facts.checkout.commit,
        old_address=facts.listeners[0],
        page=page,
        table=_table(facts, page),
        environment=_environment(facts),
        changes=tuple(site for site in facts.sites if site.before != site.after),
        unit_copies=_unit_copies(facts),
    )


def _table(facts: ProjectFacts, page: str) -> dict[str, Any]:
    """Build the app's file."""
    options, gunicorn, root = facts.options, facts.gunicorn, str(facts.checkout.root)
    remote = options.repository or facts.checkout.url
    wanted = AddOptions(
        name=options.name,
        repository=f"file://{remote}" if remote.startswith("/") else remote,
        branch=options.branch or facts.checkout.branch or "main",
        full_name=options.full_name,
        sender=options.sender,
    )
    socket = f"unix:{layout.SOCKETS}/{options.name}.sock"
    address = facts.listeners[0] if facts.service.sockets else socket
    kinds = {"files": "file", "directories": "data"}
    found = {key: [entry.path for entry in facts.untracked if entry.kind == kind] for key, kind in kinds.items()}
    shared = {key: names for key, names in found.items() if names}
    group = _group(facts)
    # `split` keeps files readable that others can read today.
    policy = "group" if group == layout.WEB or not facts.mode & 0o005 else "split"
    return {
        **app_table(wanted, memory_mib=0),
        "root": root,
        "shared": {"root": root, "data": root, **shared},
        "ownership": {"policy": options.policy or policy, "group": group, "user": facts.user.name},
        "service": {
            "name": facts.service.stem,
            "units": "existing",
            "handover": "restart",
            "entry": gunicorn.entry,
            "workers": gunicorn.workers,
            "threads": gunicorn.threads,
            "environment_file": str(layout.app_environment(options.name)),
            **({"own_socket": True} if facts.service.sockets else {"listen": socket}),
        },
        "health": {
            "url": f"{address}:{page}" if address.startswith("unix:") else f"http://{address}{page}",
            "host": facts.host,
        },
        **({"dependencies": {"python": str(facts.python)}} if facts.python else {}),
    }


def _group(facts: ProjectFacts) -> str:
    """Return the common group of app and worker: www-data if the app is in it, else the app's own."""
    if grp.getgrnam(layout.WEB).gr_gid in facts.user.groups:
        return layout.WEB
    return grp.getgrgid(pwd.getpwnam(facts.user.name).pw_gid).gr_name


def _environment(facts: ProjectFacts) -> str:
    root, unit, files = facts.checkout.root, facts.service, facts.environment_files
    directory = unit.directory or root
    arguments = [*facts.gunicorn.arguments]
    chdir = variables.relative_to_root(facts.gunicorn.chdir, root, directory)
    if chdir != ".":
        arguments.append(f"--chdir={chdir}")
    if path := variables.python_path(facts.variables.get("PYTHONPATH", ""), root, directory):
        arguments.append(f"--pythonpath={path}")
    return variables.environment_text(facts.options.name, unit.name, unit.environment, files, arguments)


def _unit_copies(facts: ProjectFacts) -> dict[str, str]:
    """Copy the unit's files for the interim unit, in the same order and before hookd's own drop-ins."""
    interim = f"{facts.service.stem}-interim.service"
    drop_ins = enumerate(facts.service.drop_ins, start=1)
    copies = {f"{interim}.d/{number:02d}-{path.name}": facts.texts[path] for number, path in drop_ins}
    return {interim: facts.texts[facts.service.fragment], **copies}


def _checkout_blockers(facts: ProjectFacts) -> Iterable[str]:
    tree, options = facts.checkout, facts.options
    remote = options.repository or tree.url
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
    yield from facts.user_problems or ownership_conflicts(Ownership(user=facts.user.name, group=_group(facts)))
    if unit.fragment.is_relative_to(facts.checkout.root):
        yield f"{unit.fragment} lies in the project, which root must not trust: copy it to {layout.SYSTEMD} first"
    for path in facts.unreadable_files:
        yield f"{path}, of {unit.name}, is a link, a pattern or unreadable: make it a regular file"
    if unit.is_unsupported or "@" in unit.name:
        yield f"{unit.name} is a template, or has DynamicUser= or RootDirectory=: hookd cannot adopt it"
    for path in unit.drop_ins:
        if path.name > "hookd.conf" and (found := _SET_BY_HOOKD.search(facts.texts.get(path, ""))):
            yield f"{path} sets {found[1]} after hookd's drop-in: move its lines into {unit.fragment}"
    if any("uvicorn" in argument or "--asgi" in argument for argument in facts.gunicorn.arguments):
        yield f"{unit.name} runs an ASGI worker, hookd runs WSGI apps"


def _visitor_blockers(facts: ProjectFacts) -> Iterable[str]:
    unit = facts.service
    if not facts.listeners:
        yield f"{unit.name} listens on no address"
    elif facts.page is None:
        yield f"the app does not answer 200 on {facts.options.health or '/healthz, /health or /'}: --health PATH"
    if unit.sockets:
        if unit.sockets != (f"{unit.stem}.socket",) or len(facts.listeners) > 1:
            yield f"{unit.name} uses {', '.join(unit.sockets)}: hookd needs {unit.stem}.socket with one address"
        return
    if facts.listeners and not any(site.is_proxy for site in facts.sites):
        yield f"no nginx site passes requests to {', '.join(facts.listeners)}: let proxy_pass lead there first"
    for site in facts.sites:
        if site.unsupported:
            yield f"hookd cannot change {_shorten_list(site.unsupported)} in {site.path}: use proxy_pass there"


def _file_blockers(facts: ProjectFacts) -> Iterable[str]:
    root = facts.checkout.root
    for path, text in facts.environment_files.items():
        yield from describe_problems(path, misread(text))
        if "\ufffd" in text:
            yield f"{path} is not UTF-8 text: {edit_command(str(path))}"
    for entry in facts.untracked:
        if entry.kind == "unclear":
            yield (
                f"{entry.path}: {entry.reason}. Move it to a directory of its own, or --leave {entry.path} (not in "
                f"releases), or --file {entry.path} (releases read it)"
            )
    for name, kind in sorted(facts.options.choices.items()):
        if not (root / name).exists():
            yield f"{name} is not in {root}"
        if kind == "data" and name in fixed_directories(facts.checkout.tracked):
            yield f"{name} holds files of the commit: git rm -r --cached {name}, and push"


def _host_blockers(facts: ProjectFacts, catalogue: Catalogue, manifest: Manifest) -> Iterable[str]:
    name, root = facts.options.name, facts.checkout.root
    known = catalogue.get(name)
    if not is_app(name):
        yield f"invalid app name {name!r} (a-z, 0-9 and -, a letter first, at most 32): --name NAME"
    if known is not None and known.root != root:
        yield f"the app {name} exists already: --name NAME"
    if not facts.is_reachable:
        yield f"{layout.WORKER} cannot reach {root}: a directory above it is closed to others"
    is_own = known is not None or manifest.has("file", str(layout.app_file(name)))
    if not is_own and (present := [name for name in RESERVED if (root / name).exists()]):
        yield f"{root} uses hookd's names {', '.join(present)}: rename them first"
    if not is_own and is_app(name):
        yield from earlier_variables(name, _environment(facts))


def _shorten_list(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
    return f"{', '.join(listed[:_MAX_SHOWN])}{more}"
