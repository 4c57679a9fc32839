"""Looks at a project, in one go and with nothing changed: at git, systemd, /proc, nginx, cron and its own files."""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from hookd.model.ids import is_app
from units.adopt.discovery import checkout, gunicorn_options, listeners, nginx_sites, service, untracked, variables
from units.adopt.discovery.gunicorn_options import GunicornOptions, NotGunicorn
from units.adopt.discovery.listeners import Listener
from units.adopt.discovery.service import OldService
from units.adopt.facts import AdoptOptions, HealthPage, ProjectFacts, ServiceUser
from units.plan.manifest import Manifest
from units.system import disk, layout
from units.system.errors import Refused
from units.system.http import Address, NoAnswer, status_of
from units.system.nginx_config import config_files
from units.system.run import CommandFailed, run, succeeds

_PAGES: Final = ("/healthz", "/health", "/")
_SECONDS: Final = 10.0
# Where other programs are told of directories.
_SCHEDULE_FILES: Final = ("etc/crontab", "etc/cron.*/*", "var/spool/cron/crontabs/*", "etc/logrotate.d/*")


def discover(wanted: AdoptOptions) -> ProjectFacts:
    """Look at a project; raises Refused when there is too little to go on."""
    root = _project_directory(wanted)
    tree = checkout.read_checkout(root)
    unit, others = _running_unit(root, wanted.unit)
    texts = variables.read_files(unit.files)
    seen = variables.merge_variables(unit.environment, texts.values())
    process = _gunicorn_process(unit)
    gunicorn, why = _gunicorn_options(unit, process, seen, root)
    olds = listeners.listeners(process)
    tracked = untracked.TrackedPaths(frozenset(tree.tracked))
    found = _nginx_sites(olds, _new_target(wanted, unit, olds), path_mapper(root, tracked))
    person = _service_user(unit)
    return ProjectFacts(
        options=wanted,
        checkout=tree,
        service=unit,
        others=others,
        mentions=tuple(_mentions(root)),
        person=person,
        gunicorn=gunicorn,
        why_no_gunicorn=why,
        olds=olds,
        texts=texts,
        variables=seen,
        sites=found,
        loose=tuple(untracked.classify(root, tree.loose, tracked, wanted.wishes, person.may_write)),
        page=_health_page(olds, wanted.health, found),
        reachable=succeeds(("runuser", "-u", layout.WORKER, "--", "test", "-x", str(root.parent))),
        root=root.stat(),
        python=_other_python(process),
        unit_texts=_unit_texts(unit),
    )


def _project_directory(wanted: AdoptOptions) -> Path:
    root, reasons = wanted.root, []
    if not root.is_absolute() or root.resolve() != root:
        reasons.append(f"wanted: the project's directory as an absolute path without links, such as {root.resolve()}")
    elif not root.is_dir():
        reasons.append(f"{root} is no directory")
    if not is_app(wanted.app):
        reasons.append(f"{wanted.app!r} cannot name an app (a-z, 0-9 and -, a letter first, at most 32): --name NAME")
    if reasons:
        raise Refused(reasons)
    return root


def _running_unit(root: Path, wanted: str | None) -> tuple[OldService, tuple[str, ...]]:
    """The unit to take over, and the names of the directory's others; raises Refused unless it is clear and runs."""
    name, others = service.find_service(root, wanted)
    unit = service.read_service(name)
    if unit.active != "active" or not unit.main_pid:
        raise Refused(
            [f"{unit.name} does not run, so there is nothing to take over"], hint=f"systemctl start {unit.name}"
        )
    return unit, others


def _new_target(wanted: AdoptOptions, unit: OldService, olds: tuple[Listener, ...]) -> str:
    """Where nginx is to lead: a socket that systemd holds already stays, and nginx goes on leading there."""
    return str(olds[0]) if unit.sockets and olds else f"unix:{layout.SOCKETS}/{wanted.app}.sock"


def _gunicorn_process(unit: OldService) -> int:
    """gunicorn's own first process, also where the unit starts a script that starts it."""
    family = (unit.main_pid, *listeners.children(unit.main_pid))
    named = (pid for pid in family if any("gunicorn" in Path(word).name for word in listeners.command_line(pid)[:3]))
    return next(named, unit.main_pid)


def _gunicorn_options(
    unit: OldService, process: int, seen: Mapping[str, str], root: Path
) -> tuple[GunicornOptions | None, str]:
    """Read the unit's command, or, when that is a script, what the script has started."""
    why = ""
    for argv in (unit.argv, listeners.command_line(process)):
        try:
            workers = len(listeners.children(process))
            return gunicorn_options.read_options(argv, seen, unit.directory or root, workers), ""
        except NotGunicorn as error:
            why = why or str(error)
    return None, why


def path_mapper(root: Path, tree: untracked.TrackedPaths) -> Callable[[str], str | None]:
    """Say where a path of the old files is in the release that serves; None for one that stays, such as an upload."""

    def moved(path: str) -> str | None:
        if path != str(root) and not path.startswith(f"{root}/"):
            return None
        rest = path[len(str(root)) :]
        first, _, deeper = rest.removeprefix("/").partition("/")
        if first and (root / first / "pyvenv.cfg").is_file():
            return f"{root}/current/venv/{deeper}"
        inside = rest.strip("/")
        return f"{root}/current{rest}" if not inside or tree.has(inside) or inside in tree.tracked else None

    return moved


def _nginx_sites(
    olds: tuple[Listener, ...], new: str, moved: Callable[[str], str | None]
) -> tuple[nginx_sites.NginxSite, ...]:
    """The files of nginx's that lead to the project; none when there is no nginx. Raises Refused."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin") is None:
        return ()
    try:
        names = config_files(run(("nginx", "-T", "-q")))
    except CommandFailed as error:
        raise Refused([f"nginx finds a mistake in its own files: {error}"], hint="mend it: sudo nginx -t") from None
    real = dict.fromkeys(Path(os.path.realpath(name)) for name in names)
    read = {path: (disk.read(path) or b"").decode(errors="surrogateescape") for path in real}
    found = [nginx_sites.rewrite_site(path, text, olds, new, moved) for path, text in read.items()]
    return tuple(site for site in found if site.passes or site.before != site.after or site.unknown)


def _service_user(unit: OldService) -> ServiceUser:
    name = unit.user or "root"
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Refused([f"{unit.name} runs as {name}, who is no user here"]) from None
    groups = {account.pw_gid, *os.getgrouplist(name, account.pw_gid)}
    return ServiceUser(name, account.pw_uid, frozenset(groups | set(_group_ids((unit.group, *unit.groups)))))


def _group_ids(names: Iterable[str]) -> Iterable[int]:
    for name in names:
        if name:
            yield int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def _health_page(
    olds: tuple[Listener, ...], wished: str | None, found: Iterable[nginx_sites.NginxSite]
) -> HealthPage | None:
    """A page that the old process answers with 200, asked as a visitor would and as hookd would."""
    domains = [name for site in found if site.passes for name in site.domains if name not in ("_", "")]
    hosts = dict.fromkeys(["localhost", *(name for name in domains if not name.startswith(("*", ".", "~")))])
    for path in [wished] if wished else _PAGES:
        for host in hosts:
            for old in olds:
                if _answers(old, path, host):
                    return HealthPage(path, host)
    return None


def _answers(old: Listener, path: str, host: str) -> bool:
    try:
        return status_of(probe_address(old), path, host, _SECONDS) == 200
    except (NoAnswer, OSError):
        return False


def probe_address(old: Listener) -> Address:
    """Where to ask an old listener; one for all addresses is asked at this host's own."""
    if old.path:
        return Address(Path(old.path))
    return Address(host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(old.host, old.host), port=old.port)  # noqa: S104


def _other_python(process: int) -> Path | None:
    """The interpreter that runs the project, when releases would get another one."""
    found = Path(os.path.realpath(f"/proc/{process}/exe"))
    return found if found != Path(os.path.realpath(layout.PYTHON)) and "python" in found.name else None


def _mentions(root: Path) -> Iterator[Path]:
    """Files of cron's and logrotate's that name the project; hookd's own, from an earlier run, are none."""
    manifest = Manifest.load(layout.MANIFEST)
    name = re.compile(rb"(?<![\w./-])" + re.escape(os.fsencode(root)) + rb"(?![\w.-])")
    for pattern in _SCHEDULE_FILES:
        for path in sorted(Path("/").glob(pattern)):
            if name.search(disk.read(path) or b"") and not manifest.has("file", str(path)):
                yield path


def _unit_texts(unit: OldService) -> dict[Path, tuple[str, int]]:
    """The unit's own files with their modes, for the copy that stands in while the unit changes."""
    found = {}
    for path in (unit.fragment, *unit.drop_ins):
        content, about = disk.read(path), disk.status(path)
        if content is not None and about is not None:
            found[path] = (content.decode(errors="surrogateescape"), about.st_mode & 0o777)
    return found
