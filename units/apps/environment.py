"""Reads and changes one variable of an app, or of its builds. Other lines of the file stay as they are."""

from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.variables import find_problems, name_problems, parse, value_problems, with_variable, without
from units.apps.variables import describe_problems
from units.system import disk, layout
from units.system.disk import Owner
from units.system.errors import HostError, Refused

_PATH: Final = "PATH is set by hookd, so that the programs of the release are found"


def variables_file(app: App, *, build: bool) -> Path:
    """Return the file of an app's variables, or of those of its builds. Raises HostError without one."""
    section, own = ("build", layout.build_environment) if build else ("service", layout.app_environment)
    file = app.build.environment_file if build else app.service.environment_file
    if file is None:
        hint = f"sudo hookd app edit {app.name} --set {section}.environment_file={own(app.name)}"
        raise HostError(f"{app.name} has no file of variables", hint=hint)
    return file


def read_variables(file: Path) -> dict[str, str]:
    """Return the variables of a file. Raises Refused if systemd reads a line otherwise than it looks."""
    return parse(_read(file))


def check_name(file: Path, name: str) -> None:
    """Raise Refused before a value is asked for, if it could not be set."""
    _read(file)
    if problems := _name_problems(name):
        raise Refused(problems, hint="hookd env set --help")


def set_variable(file: Path, name: str, content: bytes) -> bool:
    """Set a variable, and return False if it has this value already. Raises Refused."""
    text, value = _read(file), _text(content)
    if problems := [*_name_problems(name), *value_problems(name, value)]:
        raise Refused(problems, hint=f"sudoedit {file}")
    if parse(text).get(name) == value:
        return False
    _write(file, with_variable(text, name, value))
    return True


def unset_variable(file: Path, name: str) -> bool:
    """Remove a variable, and return False if there is none. Raises Refused."""
    text = _read(file)
    if name not in parse(text):
        return False
    _write(file, without(text, (name,)))
    return True


def _read(file: Path) -> str:
    content = disk.read(file)
    if content is None:
        raise _missing(file)
    if problems := find_problems(content):
        raise Refused(list(describe_problems(file, problems)), hint=f"sudoedit {file}")
    return content.decode()


def _write(file: Path, text: str) -> None:
    """Replace a file, which keeps owner and mode. Raises Refused for a text that systemd reads otherwise."""
    if problems := find_problems(text.encode()):
        raise Refused(list(describe_problems(file, problems)), hint="hookd env set --help")
    if (found := disk.status(file)) is None:
        raise _missing(file)
    disk.write(file, text.encode(), Owner(found.st_uid, found.st_gid, found.st_mode & 0o7777))


def _missing(file: Path) -> HostError:
    return HostError(f"{file} is missing or no regular file", hint=disk.inspect_command(file))


def _name_problems(name: str) -> list[str]:
    return [_PATH] if name == "PATH" else name_problems(name)


def _text(content: bytes) -> str:
    """Return a value without the line end behind it. Raises Refused for other bytes than text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Refused(["the value is not UTF-8 text"], hint="hookd env set --help") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
