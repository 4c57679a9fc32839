"""Options of the project's gunicorn from its command line, environment and file, and the ones that hookd keeps.

The file is parsed, never run: it is Python code of others than root.
"""

import argparse
import ast
import contextlib
import io
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gunicorn.config import Config

from units.system import disk
from units.system.errors import Refused

OPTIONS_VARIABLE: Final = "GUNICORN_CMD_ARGS"
_PROGRAMS: Final = ("gunicorn", "gunicorn3")
_FILE: Final = "gunicorn.conf.py"
# Kept unchanged. Workers, threads and the callable are in the app's file.
_KEPT: Final = (
    "worker_class", "worker_connections", "max_requests", "max_requests_jitter", "timeout", "keepalive",
    "limit_request_line", "limit_request_fields", "limit_request_field_size", "preload_app", "accesslog",
    "access_log_format", "errorlog", "loglevel", "capture_output", "forwarded_allow_ips", "proxy_protocol",
    "proc_name", "worker_tmp_dir", "raw_env",
)  # fmt: skip
# hookd sets these itself or does not need them.
_SET_BY_HOOKD: Final = frozenset(
    "bind backlog chdir config daemon pidfile user group umask reload reload_engine check_config print_config "
    "pythonpath workers threads wsgi_app args no_control_socket control_socket control_socket_disable sendfile "
    "enable_stdio_inheritance".split()
)


@dataclass(frozen=True)
class GunicornOptions:
    """Options of a gunicorn: `arguments` are kept, `dropped` are not, as NAME=value."""

    entry: str
    workers: int
    threads: int
    chdir: str
    arguments: tuple[str, ...]
    dropped: tuple[str, ...]


def read_options(
    commands: Sequence[tuple[str, ...]], environment: Mapping[str, str], directory: Path, processes: int
) -> GunicornOptions:
    """Read the options of the first command that starts gunicorn. `processes` is its number of workers now.

    Raises Refused.
    """
    starts = (argv[place:] for argv in commands for place, word in enumerate(argv) if Path(word).name in _PROGRAMS)
    argv = next(starts, None)
    if argv is None:
        raise Refused([f"{shlex.join(commands[0]) or 'an empty command'} does not start gunicorn"])
    command = _parse_arguments(argv[1:])
    given = {**_parse_arguments(shlex.split(environment.get(OPTIONS_VARIABLE, ""))), **command}
    path = Path(os.path.normpath(directory / str(given.get("config") or _FILE).removeprefix("file:")))
    values, computed = _read_file(path)
    values |= given
    entry = values.get("wsgi_app") or next(iter(command.get("args") or ()), None)
    if entry is None:
        raise Refused(["gunicorn's command names no WSGI callable"])
    workers = _number(values.get("workers") or environment.get("WEB_CONCURRENCY"))
    dropped = (f"{name}={value}" for name, value in values.items() if name not in (*_KEPT, *_SET_BY_HOOKD))
    return GunicornOptions(
        entry=str(entry),
        workers=workers or (processes if "workers" in computed else 1) or 1,
        threads=_number(values.get("threads")) or 1,
        chdir=values.get("chdir") or "",
        arguments=tuple(_kept_arguments(values)),
        dropped=(*dropped, *(f"{path}: {name}" for name in computed if name not in _SET_BY_HOOKD)),
    )


def _parse_arguments(words: Iterable[str]) -> dict[str, Any]:
    """Parse a command line with gunicorn's own parser, and ignore options of other gunicorn versions."""
    parser: argparse.ArgumentParser = Config().parser()
    try:
        with contextlib.redirect_stderr(io.StringIO()) as output, contextlib.redirect_stdout(io.StringIO()):
            found, _ = parser.parse_known_args(list(words))
    except SystemExit:
        raise Refused([f"gunicorn's options cannot be read: {output.getvalue().strip()}"]) from None
    return {name: value for name, value in vars(found).items() if value is not None and value != []}


def _read_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the literal values of a configuration file, and the names of computed ones."""
    known, values, computed = set(Config().settings), {}, []
    try:
        body = ast.parse(disk.read(path) or b"").body
    except (SyntaxError, ValueError) as error:
        raise Refused([f"{path} cannot be read: {error}"]) from None
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in known:
                try:
                    values[name] = ast.literal_eval(value)
                except ValueError:
                    computed.append(name)
            case ast.FunctionDef(name=name) if name in known:
                computed.append(name)
    return values, computed


def _kept_arguments(values: Mapping[str, Any]) -> Iterable[str]:
    for name in _KEPT:
        if (value := values.get(name)) is None:
            continue
        flag = Config().settings[name].cli[-1]
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                yield flag
            elif each is not False:
                yield f"{flag}={each}"


def _number(value: Any) -> int:
    return int(value) if str(value or "").isdigit() else 0
