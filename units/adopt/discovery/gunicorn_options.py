"""What a hand-made gunicorn was told, by its command line, its environment and its file, and what of it is taken over.

The file is read, never run: it is Python of somebody who is not root.
"""

import argparse
import ast
import contextlib
import io
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gunicorn.config import Config

from units.system import disk

OPTIONS_VARIABLE: Final = "GUNICORN_CMD_ARGS"
_FILE: Final = "gunicorn.conf.py"
# What is passed on as it is; workers, threads and the callable stand in the app's file.
_KEPT: Final = (
    "worker_class", "worker_connections", "max_requests", "max_requests_jitter", "timeout", "keepalive",
    "limit_request_line", "limit_request_fields", "limit_request_field_size", "preload_app", "accesslog",
    "access_log_format", "errorlog", "loglevel", "capture_output", "forwarded_allow_ips", "proxy_protocol",
    "proc_name", "worker_tmp_dir", "raw_env",
)  # fmt: skip
# What hookd decides itself, and nobody misses.
_SET_BY_HOOKD: Final = frozenset(
    "bind backlog chdir config daemon pidfile user group umask reload reload_engine check_config print_config "
    "pythonpath workers threads wsgi_app args no_control_socket control_socket control_socket_disable sendfile "
    "enable_stdio_inheritance".split()
)


@dataclass(frozen=True)
class GunicornOptions:
    """How a gunicorn was started; `arguments` are taken over, `dropped` are not, as NAME=value."""

    entry: str
    workers: int
    threads: int
    chdir: str | None
    arguments: tuple[str, ...]
    dropped: tuple[str, ...]


class NotGunicorn(Exception):
    """A command that starts something else, or cannot be read."""


def read_options(
    argv: tuple[str, ...], environment: Mapping[str, str], directory: Path, processes: int
) -> GunicornOptions:
    """Read how gunicorn is started in a directory; `processes` is how many workers it really has.

    Raises NotGunicorn.
    """
    typed = _parse_arguments(_gunicorn_arguments(argv))
    told = {**_parse_arguments(shlex.split(environment.get(OPTIONS_VARIABLE, ""))), **typed}
    file = _file(told.get("config"), directory)
    values, unread = _from_file(file) if file else ({}, ())
    values |= told
    entry = values.get("wsgi_app") or next(iter(typed.get("args") or ()), None)
    if entry is None:
        raise NotGunicorn(f"{shlex.join(argv)} names no WSGI callable")
    workers = _number(values.get("workers") or environment.get("WEB_CONCURRENCY"))
    return GunicornOptions(
        entry=str(entry),
        workers=workers or (processes if "workers" in unread else 1) or 1,
        threads=_number(values.get("threads")) or 1,
        chdir=values.get("chdir"),
        arguments=tuple(_arguments(values)),
        dropped=(*_dropped_options(values), *(f"{file}: {name}" for name in unread if name not in _SET_BY_HOOKD)),
    )


def _gunicorn_arguments(argv: tuple[str, ...]) -> tuple[str, ...]:
    for place, word in enumerate(argv):
        if Path(word).name.startswith("gunicorn") and (place == 0 or argv[place - 1] != "--name"):
            return argv[place + 1 :]
    raise NotGunicorn(f"{shlex.join(argv) or 'nothing'} is no gunicorn")


def _parse_arguments(words: Iterable[str]) -> dict[str, Any]:
    """Let gunicorn's own parser read a command line; what it does not know, an older one did."""
    parser: argparse.ArgumentParser = Config().parser()
    try:
        with contextlib.redirect_stderr(io.StringIO()) as complaint, contextlib.redirect_stdout(io.StringIO()):
            found, _ = parser.parse_known_args(list(words))
    except SystemExit:
        raise NotGunicorn(f"its options cannot be read: {complaint.getvalue().strip()}") from None
    return {name: value for name, value in vars(found).items() if value is not None and value != []}


def _file(named: Any, directory: Path) -> Path | None:
    path = directory / str(named or _FILE).removeprefix("file:")
    return path if disk.status(Path(os.path.normpath(path))) else None


def _from_file(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The plain values of a configuration file, and the names of what only running it would tell."""
    try:
        body = ast.parse((disk.read(Path(os.path.normpath(path))) or b"").decode()).body
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return {}, ("all of it",)
    known, values, unread = set(Config().settings), {}, []
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in known:
                try:
                    values[name] = ast.literal_eval(value)
                except ValueError:
                    unread.append(name)
            case ast.FunctionDef(name=name) if name in known:
                unread.append(name)
            case _:
                continue
    return values, tuple(unread)


def _arguments(values: Mapping[str, Any]) -> Iterable[str]:
    for name in _KEPT:
        if (value := values.get(name)) is None:
            continue
        flag = Config().settings[name].cli[-1]
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                yield flag
            elif each is not False:
                yield f"{flag}={each}"


def _dropped_options(values: Mapping[str, Any]) -> Iterable[str]:
    return (f"{name}={value}" for name, value in values.items() if name not in (*_KEPT, *_SET_BY_HOOKD))


def _number(value: Any) -> int:
    return int(value) if str(value or "").isdigit() else 0
