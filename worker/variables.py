"""The app's own variables, read by systemd's rules, and refused if systemd reads a line otherwise than it looks."""

import re
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from hookd.config import ENV_FILE
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.variables import UnusableVariables, find_problems, parse
from worker.errors import DeployError

_ASSIGNMENT: Final = re.compile(
    r"""[^\S\n]*(?:export[^\S\n]+)?(?:'(?P<quoted>[^']+)'|(?P<name>[^\s=\#]+))[^\S\n]*=[^\S\n]*
    (?P<value>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\r\n]*)""",
    re.DOTALL | re.VERBOSE,
)
_MAX_SHARED: Final = 1_000_000
_CONTROL: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def build_variables(app: App) -> dict[str, str]:
    """Return the variables of the app's build. Raises DeployError for a misread line or an unreadable file."""
    return {**app.build.environment, **_read(app, app.build.environment_file)}


def service_variables(app: App) -> dict[str, str]:
    """Return the variables of the app's service and its phases. Raises DeployError.

    systemd reads the file as root. One that only root may read gives none here.
    """
    return _read(app, app.service.environment_file, may_be_closed=app.uses_systemd)


def _read(app: App, file: Path | None, *, may_be_closed: bool = False) -> dict[str, str]:
    if file is None:
        return {}
    try:
        content = file.read_bytes()
    except OSError as error:
        if may_be_closed and isinstance(error, PermissionError):
            return {}
        raise DeployError(f"the app's variables in {file} cannot be read: {error.strerror}") from None
    if problems := find_problems(content):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DeployError(f"{file} {problems[0]}{more}", hint=_hint(app, file))
    return parse(content.decode())


def _hint(app: App, file: Path) -> Hint:
    """Return the hint to a server's file, or else to `hookd doctor`, which names the file's own command."""
    own = (Path(f"/etc/hookd/env/{app.name}"), Path(f"/etc/hookd/env/{app.name}.build"))
    return Hint(HintKind.EDIT_VARIABLES, str(file)) if file in own else Hint(HintKind.RUN_DOCTOR)


def shared_variables(app: App) -> list[dict[str, str]]:
    """Read shared files such as `.env`, so that the log can redact their values. Skips unreadable files."""
    found = []
    for path in filter(ENV_FILE.search, app.shared.files):
        with suppress(OSError):
            file = open_regular_file(app.shared_root / path)
            with TextIOWrapper(file, encoding="utf-8", errors="replace") as stream:
                found += readings(stream.read(_MAX_SHARED))
    return found


def readings(text: str) -> list[dict[str, str]]:
    """Return all readings of a `.env` file, because the app may use any library, or a shell."""
    starts = [0, *(newline.end() for newline in re.finditer(r"[\r\n]", text))]  # A quote may be left open anywhere.
    lines = [line for start in starts if (line := _ASSIGNMENT.match(text, start))]
    each = [{line["name"] or line["quoted"]: value} for line in lines for value in _readings_of_value(line["value"])]
    with suppress(UnusableVariables):
        each.append(parse(text))
    return each


def _readings_of_value(text: str) -> tuple[str, ...]:
    """Return a value as written, without a comment, and without quotes and escapes of each kind."""
    whole = text.strip()
    inside = whole[1:-1] if whole[:1] in ("'", '"') and whole[-1:] == whole[:1] else whole
    return (
        whole,
        re.sub(r"\s+#.*", "", text).rstrip(),
        inside,
        re.sub(r"\\([\\'])", r"\1", inside),
        re.sub(r"\\([\\'\"abfnrtv])", lambda found: _CONTROL.get(found[1], found[1]), inside),
        re.sub(r"\\(.)", r"\1", inside, flags=re.DOTALL),
    )
