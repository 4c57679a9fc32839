"""Discovery of a project in git, systemd, /proc, nginx, cron and its own files. It changes nothing."""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from hookd.http_probe import Address, NoAnswer, request_status
from hookd.model.ids import is_app
from units.adopt.discovery import checkout, gunicorn_options, listeners, nginx_sites, service, untracked, variables
from units.adopt.discovery.gunicorn_options import GunicornOptions, NotGunicorn
from units.adopt.discovery.listeners import Listener
from units.adopt.discovery.service import OldService
from units.adopt.facts import AdoptOptions, HealthPage, ProjectFacts, ServiceUser
from units.plan.manifest import Manifest
from units.system import disk, layout
from units.system.errors import Refused
from units.system.nginx_config import config_files
from units.system.run import CommandFailed, run, succeeds

_PAGES: Final = ("/healthz", "/health", "/")
_SECONDS: Final = 10.0
_SCHEDULE_FILES: Final = ("etc/crontab", "etc/cron.*/*", "var/spool/cron/crontabs/*", "etc/logrotate.d/*")


def discover(options: AdoptOptions) -> ProjectFacts:
    """Discover a project. Raises Refused if its checkout, unit or nginx cannot be read."""
    root = _project_directory(options)
    tree = checkout.read_checkout(root)
    unit, others = _running_unit(root, options.unit)
    environment_files = variables.read_files(unit.files)
    environment = variables.merge_variables(unit.environment, environment_files.values())
    process = _gunicorn_process(unit)
    gunicorn, gunicorn_error = _gunicorn_options(unit, process, environment, root)
    old = listeners.listeners(process)
    tracked = untracked.TrackedPaths(frozenset(tree.tracked))
    sites = _nginx_sites(old, _new_target(options, unit, old), path_mapper(root, tracked))
    user = _service_user(unit)
    return ProjectFacts(
        options=options,
        checkout=tree,
        service=unit,
        others=others,
        mentions=tuple(_mentions(root)),
        user=user,
        gunicorn=gunicorn,
        gunicorn_error=gunicorn_error,
        listeners=old,
        environment_files=environment_files,
        variables=environment,
        sites=sites,
        untracked=tuple(untracked.classify(root, tree.untracked, tracked, options.choices, user.may_write)),
        page=_health_page(old, options.health, sites),
        is_reachable=succeeds(("runuser", "-u", layout.WORKER, "--", "test", "-x", str(root.parent))),
        root=root.stat(),
        python=_other_python(process),
        unit_texts=_unit_texts(unit),
    )


def _project_directory(options: AdoptOptions) -> Path:
    root, reasons = options.root, []
    if not root.is_absolute() or root.resolve() != root:
        reasons.append(f"the directory must be an absolute path without links, such as {root.resolve()}")
    elif not root.is_dir():
        reasons.append(f"{root} is not a directory")
    if not is_app(options.app):
        reasons.append(f"invalid app name {options.app!r} (a-z, 0-9 and -, a letter first, at most 32): --name NAME")
    if reasons:
        raise Refused(reasons)
    return root


def _running_unit(root: Path, wanted: str | None) -> tuple[OldService, tuple[str, ...]]:
    """Return the unit to adopt and the names of the directory's other units. Raises Refused."""
    name, others = service.find_service(root, wanted)
    unit = service.read_service(name)
    if unit.active != "active" or not unit.main_pid:
        raise Refused([f"{unit.name} is not running"], hint=f"systemctl start {unit.name}")
    return unit, others


def _new_target(options: AdoptOptions, unit: OldService, old: tuple[Listener, ...]) -> str:
    """Return nginx's new target: the old address if systemd holds its socket, else a new socket."""
    return str(old[0]) if unit.sockets and old else f"unix:{layout.SOCKETS}/{options.app}.sock"


def _gunicorn_process(unit: OldService) -> int:
    """Return gunicorn's main process, which is a child of the unit's process if a script starts it."""
    family = (unit.main_pid, *listeners.children(unit.main_pid))
    named = (pid for pid in family if any("gunicorn" in Path(word).name for word in listeners.command_line(pid)[:3]))
    return next(named, unit.main_pid)


def _gunicorn_options(
    unit: OldService, process: int, environment: Mapping[str, str], root: Path
) -> tuple[GunicornOptions | None, str]:
    """Read gunicorn's options from the unit's command or, if that is a script, from the process."""
    error = ""
    for argv in (unit.argv, listeners.command_line(process)):
        try:
            workers = len(listeners.children(process))
            return gunicorn_options.read_options(argv, environment, unit.directory or root, workers), ""
        except NotGunicorn as failure:
            error = error or str(failure)
    return None, error


def path_mapper(root: Path, tracked: untracked.TrackedPaths) -> Callable[[str], str | None]:
    """Return a function that maps an old path to the current release, or to None for untracked files."""

    def mapped(path: str) -> str | None:
        if path != str(root) and not path.startswith(f"{root}/"):
            return None
        rest = path[len(str(root)) :]
        first, _, deeper = rest.removeprefix("/").partition("/")
        if first and (root / first / "pyvenv.cfg").is_file():
            return f"{root}/current/venv/{deeper}"
        inside = rest.strip("/")
        is_tracked = not inside or tracked.has_files_in(inside) or inside in tracked.paths
        return f"{root}/current{rest}" if is_tracked else None

    return mapped


def _nginx_sites(
    old: tuple[Listener, ...], new: str, mapped: Callable[[str], str | None]
) -> tuple[nginx_sites.NginxSite, ...]:
    """Return nginx's files that lead to the project. Raises Refused if nginx rejects its configuration."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin") is None:
        return ()
    try:
        names = config_files(run(("nginx", "-T", "-q")))
    except CommandFailed as error:
        raise Refused([f"nginx rejects its configuration: {error}"], hint="sudo nginx -t") from None
    paths = dict.fromkeys(Path(os.path.realpath(name)) for name in names)
    texts = {path: (disk.read(path) or b"").decode(errors="surrogateescape") for path in paths}
    sites = [nginx_sites.rewrite_site(path, text, old, new, mapped) for path, text in texts.items()]
    return tuple(site for site in sites if site.is_proxy or site.before != site.after or site.unsupported)


def _service_user(unit: OldService) -> ServiceUser:
    name = unit.user or "root"
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Refused([f"the user {name} of {unit.name} does not exist"]) from None
    groups = {account.pw_gid, *os.getgrouplist(name, account.pw_gid)}
    return ServiceUser(name, account.pw_uid, frozenset(groups | set(_group_ids((unit.group, *unit.groups)))))


def _group_ids(names: Iterable[str]) -> Iterable[int]:
    return (int(name) if name.isdigit() else grp.getgrnam(name).gr_gid for name in names if name)


def _health_page(
    old: tuple[Listener, ...], wanted: str | None, sites: Iterable[nginx_sites.NginxSite]
) -> HealthPage | None:
    """Find a page that answers 200, for hookd's own host name or a visitor's."""
    domains = [name for site in sites if site.is_proxy for name in site.domains if name not in ("_", "")]
    hosts = dict.fromkeys(["localhost", *(name for name in domains if not name.startswith(("*", ".", "~")))])
    for path in [wanted] if wanted else _PAGES:
        for host in hosts:
            if any(_answers(one, path, host) for one in old):
                return HealthPage(path, host)
    return None


def _answers(old: Listener, path: str, host: str) -> bool:
    # A wildcard address is probed on the loopback interface.
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(old.host, old.host)  # noqa: S104
    address = Address(Path(old.path)) if old.path else Address(host=own, port=old.port)
    try:
        return request_status(address, path, host, _SECONDS) == 200
    except (NoAnswer, OSError):
        return False


def _other_python(process: int) -> Path | None:
    """Return the project's interpreter if it differs from hookd's."""
    found = Path(os.path.realpath(f"/proc/{process}/exe"))
    return found if found != Path(os.path.realpath(layout.PYTHON)) and "python" in found.name else None


def _mentions(root: Path) -> Iterator[Path]:
    """Find files of cron and logrotate with the project's path, except hookd's own."""
    manifest = Manifest.load(layout.MANIFEST)
    name = re.compile(rb"(?<![\w./-])" + re.escape(os.fsencode(root)) + rb"(?![\w.-])")
    for pattern in _SCHEDULE_FILES:
        for path in sorted(Path("/").glob(pattern)):
            if name.search(disk.read(path) or b"") and not manifest.has("file", str(path)):
                yield path


def _unit_texts(unit: OldService) -> dict[Path, tuple[str, int]]:
    """Read the unit's files with their modes."""
    found = {}
    for path in (unit.fragment, *unit.drop_ins):
        content, status = disk.read(path), disk.status(path)
        if content is not None and status is not None:
            found[path] = (content.decode(errors="surrogateescape"), status.st_mode & 0o777)
    return found
