"""The files that `hookd app add` and `hookd up` name: variables, shared files, and the app's own file."""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from hookd.variables import misread
from units.apps import secrets
from units.apps.accounts.users import default_user
from units.apps.changes import InitialContents
from units.apps.manage import Server
from units.apps.table.options import complete_table
from units.apps.table.own_file import add_user, require_shared_files
from units.apps.variables import describe_problems
from units.system.errors import Refused

# The parameters that count beside --from.
_BESIDE_FILE: Final = ("name", "file", "repo", "user", "env_file", "files", "dry_run", "yes", "no_deploy")


def read_contents(options: Mapping[str, Any]) -> InitialContents:
    """Read the named files. Raises Refused with those that cannot be read, and with misread variables."""
    unreadable: list[str] = []
    environment = _attempt(lambda: read_variables(options["env_file"]), unreadable) if options["env_file"] else None
    sources = dict(item.split("=", 1) for item in options["files"] if "=" in item)
    shared = {
        name: _attempt(partial(_read_text, Path(path), f"--file {name}"), unreadable) for name, path in sources.items()
    }
    if unreadable:
        raise Refused(unreadable)
    return InitialContents(secrets.new_secret(), environment, shared)


def read_variables(path: Path) -> str:
    """Read the file of `--env-file`. Raises Refused if it cannot be read, and for misread variables."""
    text = _read_text(path, "--env-file")
    if problems := list(describe_problems(path, misread(text))):
        raise Refused(problems)
    return text


def _attempt(read: Callable[[], str], unreadable: list[str]) -> str:
    try:
        return read()
    except Refused as refused:
        unreadable += refused.reasons
        return ""


def _read_text(path: Path, option: str) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused([f"{option}: {path} cannot be read: {error}"]) from None


def completed_table(server: Server, name: str, file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the app's file of `--from`, and add the values that it leaves to hookd and to the other options."""
    _refuse_options_of_repo(file)
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused([f"{file}: not TOML: {error}"]) from None
    require_shared_files(written, tuple(item.split("=", 1)[0] for item in options["files"]))
    table = add_user(written, options["user"], lambda: default_user(name, server.catalogue, server.manifest))
    return complete_table(name, table, memory_mib=server.host.memory_mib)


def _refuse_options_of_repo(file: Path) -> None:
    """Raise Refused for typed options that a file replaces."""
    context = click.get_current_context()
    typed = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    unused = [name.replace("_", "-") for name in typed if name not in _BESIDE_FILE]
    if unused:
        raise Refused([f"--{name} belongs to --repo: write its value into {file}" for name in unused])
