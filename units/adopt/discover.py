"""Discovery of a project in git, systemd, /proc, nginx, cron and its own files. It changes nothing."""

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from units.adopt.discovery import service, variables
from units.adopt.discovery.checkout import Checkout, read_checkout
from units.adopt.discovery.gunicorn_options import GunicornOptions, read_options
from units.adopt.discovery.nginx_sites import NginxSite, rewrite_site
from units.adopt.discovery.service import OldService, ServiceUser
from units.adopt.discovery.untracked import UntrackedKind, UntrackedPath, classify, fixed_directories
from units.apps.accounts.unit_users import read_unit_users, user_problems
from units.apps.repository.git_access import as_worker
from units.system import disk, layout
from units.system.errors import Refused
from units.system.nginx_config import config_files
from units.system.run import CommandFailed, run, succeeds

_PAGES: Final = ("/healthz", "/health", "/")
_SECONDS: Final = 10.0
# The options that choose the kind of a path.
_OPTIONS: Final[Mapping[UntrackedKind, str]] = {"file": "file", "data": "data", "left": "leave"}
_GREP: Final = ("grep", "--recursive", "--files-with-matches", "--no-messages", "--fixed-strings", "--word-regexp")


@dataclass(frozen=True)
class AdoptOptions:
    """Options of the command. hookd chooses a value for None. `choices` are the kinds of paths."""

    root: Path
    name: str
    unit: str | None = None
    repository: str | None = None
    branch: str | None = None
    full_name: str | None = None
    sender: str | None = None
    health: str | None = None
    policy: str | None = None
    choices: Mapping[str, UntrackedKind] = field(default_factory=dict)
    leave_changes: bool = False

    @property
    def command(self) -> str:
        """The command with these options, to type again."""
        values = {
            "name": self.name if self.name != self.root.name else None,
            **{"unit": self.unit, "repo": self.repository, "branch": self.branch, "full-name": self.full_name},
            **{"sender": self.sender, "health": self.health, "policy": self.policy},
        }
        typed = [f"--{option}={value}" for option, value in values.items() if value is not None]
        typed += [f"--{_OPTIONS[kind]}={path}" for path, kind in self.choices.items() if kind in _OPTIONS]
        changes = ["--leave-changes"] if self.leave_changes else []
        return shlex.join(("sudo", "hookd", "app", "adopt", str(self.root), *typed, *changes))


@dataclass(frozen=True)
class ProjectFacts:
    """A project as discovered: its checkout, unit, gunicorn, nginx sites and untracked files.

    `others` are more units in its directory, `mentions` are files of cron and logrotate with its path. `texts` are the
    unit's files and its files of variables. `page` answers 200 for `host`. `mode` is the directory's.
    `user_problems` are the reasons why the unit may run no app.
    """

    options: AdoptOptions
    checkout: Checkout
    service: OldService
    others: tuple[str, ...]
    mentions: tuple[Path, ...]
    user: ServiceUser
    user_problems: tuple[str, ...]
    gunicorn: GunicornOptions
    listeners: tuple[str, ...]
    texts: Mapping[Path, str]
    variables: Mapping[str, str]
    sites: tuple[NginxSite, ...]
    untracked: tuple[UntrackedPath, ...]
    page: str | None
    host: str
    is_reachable: bool
    mode: int
    python: Path | None

    @property
    def environment_files(self) -> dict[Path, str]:
        """The unit's files of variables, without missing ones, as `EnvironmentFile=-` does."""
        return {path: self.texts[path] for path in self.service.files if path in self.texts}

    @property
    def unreadable_files(self) -> list[Path]:
        """The unit's files that are patterns, links or closed."""
        present = (path for path in self.service.files if os.path.lexists(path) or re.search(r"[*?\[]", str(path)))
        return [path for path in (*self.service.unit_files, *present) if path not in self.texts]


def discover(options: AdoptOptions) -> ProjectFacts:
    """Discover a project. Raises Refused if its checkout, unit, gunicorn or nginx cannot be read."""
    root = options.root
    if root.resolve() != root:
        raise Refused([f"the directory must be an absolute path without links, such as {root.resolve()}"])
    checkout = read_checkout(root)
    name, others = service.find_service(root, options.unit)
    unit = service.read_service(name)
    texts = _read_texts((*unit.unit_files, *unit.files))
    environment = variables.merge_variables(unit.environment, (texts[path] for path in unit.files if path in texts))
    commands = (unit.argv, service.command_line(unit.process))
    processes = len(service.children(unit.process))
    listeners = service.listeners(unit.process)
    # nginx's new target: the old address if systemd holds its socket, else a new socket.
    target = listeners[0] if unit.sockets and listeners else f"unix:{layout.SOCKETS}/{options.name}.sock"
    fixed = fixed_directories(checkout.tracked)
    sites = _nginx_sites(listeners, target, partial(current_path, root, {*fixed, *checkout.tracked}))
    page, host = _health_page(listeners, options.health, sites)
    user = service.read_user(unit)
    return ProjectFacts(
        options=options,
        checkout=checkout,
        service=unit,
        others=others,
        mentions=_mentions(root),
        user=user,
        user_problems=tuple(str(one) for unit in read_unit_users([name]) for one in user_problems(unit, user.name)),
        gunicorn=read_options(commands, environment, unit.directory or root, processes),
        listeners=listeners,
        texts=texts,
        variables=environment,
        sites=sites,
        untracked=tuple(classify(root, checkout.untracked, fixed, options.choices, user.may_write)),
        page=page,
        host=host,
        is_reachable=succeeds(as_worker("test", "-x", str(root.parent))),
        mode=root.stat().st_mode,
        python=_other_python(unit.process),
    )


def _read_texts(paths: Iterable[Path]) -> dict[Path, str]:
    """Read files, without missing, closed or linked ones."""
    found = {path: disk.read(path) for path in paths}
    return {path: content.decode(errors="replace") for path, content in found.items() if content is not None}


def current_path(root: Path, tracked: set[str], path: str) -> str | None:
    """Map an old path to the current release. Return None for other paths and for untracked files."""
    if not f"{path}/".startswith(f"{root}/"):
        return None
    rest = path[len(str(root)) :]
    first, _, deeper = rest.removeprefix("/").partition("/")
    if first and (root / first / "pyvenv.cfg").is_file():
        return f"{root}/current/venv/{deeper}"
    inside = rest.strip("/")
    return f"{root}/current{rest}" if not inside or inside in tracked else None


def _nginx_sites(old: tuple[str, ...], new: str, mapped: Callable[[str], str | None]) -> tuple[NginxSite, ...]:
    """Return nginx's files that lead to the project. Raises Refused if nginx rejects its configuration."""
    if shutil.which("nginx") is None:
        return ()
    try:
        names = config_files(run(("nginx", "-T", "-q")))
    except CommandFailed as error:
        raise Refused([f"nginx rejects its configuration: {error}"], hint="sudo nginx -t") from None
    paths = dict.fromkeys(Path(os.path.realpath(name)) for name in names)
    texts = {path: (disk.read(path) or b"").decode(errors="surrogateescape") for path in paths}
    sites = [rewrite_site(path, text, old, new, mapped) for path, text in texts.items()]
    return tuple(site for site in sites if site.is_proxy or site.before != site.after or site.unsupported)


def _health_page(old: tuple[str, ...], wanted: str | None, sites: tuple[NginxSite, ...]) -> tuple[str | None, str]:
    """Find a page that answers 200, for hookd's own host name or a visitor's."""
    domains = (name for site in sites if site.is_proxy for name in site.domains)
    hosts = dict.fromkeys(["localhost", *(name for name in domains if name[:1].isalnum())])
    for path in [wanted] if wanted else _PAGES:
        for host in hosts:
            if any(service.answers(address, path, host, _SECONDS) for address in old):
                return path, host
    return None, "localhost"


def _other_python(process: int) -> Path | None:
    """Return the project's interpreter if it differs from hookd's."""
    found = Path(os.path.realpath(f"/proc/{process}/exe"))
    return found if found != Path(os.path.realpath(layout.PYTHON)) and "python" in found.name else None


def _mentions(root: Path) -> tuple[Path, ...]:
    """Find files of cron and logrotate with the project's path, except hookd's own."""
    places = (*map(str, Path("/etc").glob("cron*")), "/var/spool/cron", "/etc/logrotate.d")
    try:
        found = run((*_GREP, "--", str(root), *places))
    except CommandFailed as error:
        found = error.output  # Without any match, or with a missing place.
    return tuple(path for path in map(Path, sorted(found.splitlines())) if not path.name.startswith("hookd-"))
