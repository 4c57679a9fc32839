"""The kinds of failures that have a remedy: the pattern of their error, and the function of their cause."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from hookd.model.app import App
from hookd.model.hint import OPEN_VALUE, Hint, HintKind
from hookd.model.packages import HEADER_PACKAGES, NODE_PACKAGES, PROGRAM_PACKAGES
from hookd.model.text import truncate
from worker.errors import Fault
from worker.report.output import MAX_CHARACTERS, exceptions

_ENVIRON: Final = re.compile(r'File "(?:<frozen os>|.*/os\.py)", line \d+, in __getitem__')
# The frames of os.mkdir, os.makedirs and Path.mkdir.
_MAKING: Final = re.compile(r", in (?:makedirs|mkdir)$|\bos\.mkdir\(")
_FIELD_REQUIRED: Final = re.compile(r"\s+[Ff]ield required\b")
# A name in capitals with an underscore, which is a variable by habit.
_NAME: Final = r"['\"`]?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)['\"`]?"


@dataclass(frozen=True)
class Cause:
    """A cause in one line, the command that mends it, if one is known, and what is at fault."""

    text: str
    hint: Hint | None = None
    fault: Fault = Fault.UNKNOWN


@dataclass(frozen=True)
class Failure:
    """The output of a command that failed in a phase of an app, and the line that names its error."""

    phase: str
    app: App
    lines: Sequence[str]
    error: str

    @property
    def output(self) -> str:
        """Return the whole output."""
        return "\n".join(self.lines)


def explain(failure: Failure) -> Cause:
    """Return the cause by the first kind that fits, or the plain line of the error."""
    for kind in _KINDS:
        where = failure.output if kind.anywhere else failure.error
        if (match := kind.pattern.search(where)) and (cause := kind.cause(failure, match)):
            return cause
    return Cause(failure.error)


def with_key(text: str, key: str, value: str) -> Cause:
    """Return a cause that a key of the app's file mends, and name the key."""
    suffix = "" if key in text else f" ({key})"
    text = f"{truncate(text, MAX_CHARACTERS - len(suffix))}{suffix}"
    return Cause(text, Hint(HintKind.SET_KEY, f"{key}={value}"), Fault.CONFIGURATION)


def _first(match: re.Match[str]) -> str:
    """Return the text of the first group that took part, or ""."""
    return next(filter(None, match.groups()), "")


def _entry(failure: Failure, _match: re.Match[str]) -> Cause:
    return with_key(failure.error.removeprefix("AppImportError: "), "service.entry", OPEN_VALUE)


def _module(failure: Failure, match: re.Match[str]) -> Cause:
    """Separate the app's own module, which the entry misspells, from a package that its dependencies miss."""
    module = failure.app.service.entry.partition(":")[0]
    if f"{module}.".startswith(f"{match[1]}."):
        return with_key(failure.error, "service.entry", OPEN_VALUE)
    return Cause(f"{failure.error}, its package is not among the dependencies", fault=Fault.COMMIT)


def _variable(failure: Failure, match: re.Match[str]) -> Cause:
    return _missing_variable(failure, _first(match))


def _missing_variable(failure: Failure, name: str) -> Cause:
    kind = HintKind.SET_BUILD_VARIABLE if failure.phase == "build" else HintKind.SET_VARIABLE
    return Cause(failure.error, Hint(kind, name), Fault.CONFIGURATION)


def _key_error(failure: Failure, match: re.Match[str]) -> Cause | None:
    """Take a KeyError for a missing variable if `os.environ` raised it."""
    place = max(exceptions(failure.lines), default=0)
    frames = "\n".join(failure.lines[max(0, place - 3) : place])
    return _missing_variable(failure, match[1]) if _ENVIRON.search(frames) else None


def _fields(failure: Failure, _match: re.Match[str]) -> Cause | None:
    """Name the fields that pydantic misses. It reads variables in any case."""
    pairs = zip(failure.lines, failure.lines[1:], strict=False)
    names = [name for name, about in pairs if _FIELD_REQUIRED.match(about) and re.fullmatch(r"\w+", name)]
    if not names:
        return None
    text = truncate(f"ValidationError: field required: {', '.join(names)}", MAX_CHARACTERS)
    return replace(_missing_variable(failure, names[0].upper()), text=text)


def _program(_failure: Failure, match: re.Match[str]) -> Cause:
    """Name a program that is missing, and its package."""
    name = _first(match)
    hint = _package_hint(name)
    return Cause(f"there is no program {name}", hint, Fault.HOST if hint else Fault.CONFIGURATION)


def _package_hint(program: str) -> Hint | None:
    if program in NODE_PACKAGES:
        return Hint(HintKind.INSTALL_NODE_PACKAGE, program)
    return Hint(HintKind.INSTALL_PACKAGE, PROGRAM_PACKAGES[program]) if program in PROGRAM_PACKAGES else None


def _child(failure: Failure, match: re.Match[str]) -> Cause | None:
    """Separate a program that the app wanted to start from a file that it wanted to open."""
    return _program(failure, match) if "_execute_child" in failure.output else None


def _build_tool(failure: Failure, match: re.Match[str]) -> Cause:
    """Name the package with a program that the build of a Python package misses."""
    return Cause(failure.error, _package_hint(_first(match)), Fault.HOST)


def _mysql(failure: Failure, _match: re.Match[str]) -> Cause:
    return Cause(failure.error, _package_hint("mysql_config"), Fault.HOST)


def _header(failure: Failure, match: re.Match[str]) -> Cause:
    package = next((package for end, package in HEADER_PACKAGES.items() if f"/{match[1]}".endswith(f"/{end}")), None)
    hint = Hint(HintKind.INSTALL_PACKAGE, package) if package else None
    return Cause(failure.error, hint, Fault.HOST)


def _python(failure: Failure, _match: re.Match[str]) -> Cause:
    return with_key(failure.error, "dependencies.python", OPEN_VALUE)


def _index(failure: Failure, match: re.Match[str]) -> Cause:
    name = "URL" if match[1] else "STRATEGY"
    return with_key(failure.error, f"dependencies.environment.UV_INDEX_{name}", OPEN_VALUE)


def _package_build(failure: Failure, _match: re.Match[str]) -> Cause:
    """Propose another Python, because old packages do not build with a new one."""
    return Cause(failure.error, Hint(HintKind.SET_KEY, f"dependencies.python={OPEN_VALUE}"))


def _no_wheel(failure: Failure, _match: re.Match[str]) -> Cause:
    return Cause(failure.error, Hint(HintKind.ALLOW_BUILD), Fault.CONFIGURATION)


def _script(failure: Failure, match: re.Match[str]) -> Cause:
    """Explain a file of the release that the system does not start."""
    name = match[1].removeprefix("./")
    if match[2] == "Permission denied":
        return Cause(f"{name} is not executable", Hint(HintKind.MAKE_EXECUTABLE, name), Fault.COMMIT)
    return Cause(f"{name} or the interpreter in its first line does not exist, or its lines end as on Windows")


def _no_write(failure: Failure, match: re.Match[str]) -> Cause:
    """Name the directory of data in a release, which the app may not make, or in which it may not write."""
    app, path = failure.app, PurePosixPath(match[1])
    inside = re.sub(rf"^{re.escape(str(app.root))}/(?:releases/[^/]+|current|next|blue|green)/", "", str(path))
    place = max(exceptions(failure.lines), default=0)
    is_made = any(_MAKING.search(line) for line in failure.lines[max(0, place - 3) : place])
    directory = inside if is_made else str(PurePosixPath(inside).parent)
    if inside.startswith("/") or directory == "." or not re.fullmatch(r"[\w./@+-]+", directory):
        return Cause(failure.error, None, Fault.CONFIGURATION)
    wanted = ", ".join(f'"{name}"' for name in (*app.shared.directories, directory))
    return with_key(failure.error, "shared.directories", f"'[{wanted}]'")


def _no_database(failure: Failure, _match: re.Match[str]) -> Cause:
    return with_key(failure.error, "shared.directories", OPEN_VALUE)


def _port(failure: Failure, match: re.Match[str]) -> Cause:
    port = _first(match)
    return Cause(failure.error, Hint(HintKind.SHOW_PORT, port) if port else None, Fault.HOST)


def _source(failure: Failure, _match: re.Match[str]) -> Cause:
    """Blame the commit alone for text that is no Python, and name its place."""
    places = [line.strip() for line in failure.lines if line.lstrip().startswith("File ")]
    where = re.search(r'"(?:.*/)?releases/[^/]+/(.+)", (line \d+)|"(.+)", (line \d+)', places[-1]) if places else None
    place = " ".join(filter(None, where.groups())) if where else ""
    return Cause(
        truncate(f"{failure.error} in {place}", MAX_CHARACTERS) if place else failure.error, fault=Fault.COMMIT
    )


def _no_repository(_failure: Failure, _match: re.Match[str]) -> Cause:
    return Cause(
        "a release is no git repository, its commit is in the file REVISION and in HOOKD_COMMIT", fault=Fault.COMMIT
    )


@dataclass(frozen=True)
class _Kind:
    """One kind of failure: the pattern of its error, or of any line with `anywhere`, and the function of its cause."""

    pattern: re.Pattern[str]
    cause: Callable[[Failure, re.Match[str]], Cause | None]
    anywhere: bool = False


def _kind(pattern: str, cause: Callable[[Failure, re.Match[str]], Cause | None], *, anywhere: bool = False) -> _Kind:
    return _Kind(re.compile(pattern), cause, anywhere)


# The first kind that fits counts.
_KINDS: Final = (
    _kind(r"^(?:SyntaxError|IndentationError|TabError)\b", _source),
    _kind(r"Failed to (?:find attribute|find application object|parse .* as an attribute)", _entry),
    _kind(r"AppImportError: TypeError: ", _entry),
    _kind(r"ModuleNotFoundError: No module named '([^']+)'", _module),
    _kind(r"^KeyError: '(\w+)'$", _key_error),
    _kind(rf"Set the (\w+) environment variable|^(?:\w+: )?{_NAME} not found\. Declare it as envvar", _variable),
    _kind(rf"[Ee]nvironment variable:? {_NAME}|Config {_NAME} is missing", _variable),
    _kind(
        rf"{_NAME} (?:\w+ )?(?:is|was|must|are|environment variable)\b.*\b(?:set|missing|required|empty)\b", _variable
    ),
    _kind(r"^ValidationError: \d+ validation error", _fields),
    _kind(r"fatal: not a git repository", _no_repository, anywhere=True),
    _kind(r"FileNotFoundError: \[Errno 2\] No such file or directory: '([^'/]+)'", _child),
    _kind(
        r"^(?:setpriv: failed to execute )?(\.?[\w.-]*/[\w./-]+): (Permission denied|No such file or directory)$",
        _script,
    ),
    _kind(r"in_release\.sh: \d+: exec: (\.?[\w.-]*/[\w./-]+): (Permission denied|not found)$", _script),
    _kind(r"^setpriv: failed to execute (\S+): |^([\w.+-]+): No such file or directory$", _program),
    _kind(r"^(?:exec: )?([\w.+-]+): not found$|in_release\.sh: \d+: exec: ([\w.+-]+): not found$", _program),
    _kind(r"\[Errno 2\] No such file or directory: '([\w.+-]+)'$|(\w+_config) executable not found", _build_tool),
    _kind(r"\bcommand '([\w.+-]+)' failed: No such file", _build_tool),
    _kind(r"[Cc]an(?:'t|not) find (Rust) compiler", _build_tool),
    _kind(r"Can not find valid pkg-config name|mysql_config.*not found", _mysql),
    _kind(
        r"longintrepr\.h|incompatible with the project's Python|Python ABI tag|requires-python|Requires-Python", _python
    ),
    _kind(r"fatal error: (\S+): No such file or directory", _header),
    _kind(r"answered (40[13]) \w+$|at the requested version", _index),
    _kind(r"no usable wheels|building from source is disabled|but has no binary distribution", _no_wheel),
    _kind(r"(?:Permission denied|Read-only file system): '([^']+)'", _no_write),
    _kind(r"unable to open database file|attempt to write a readonly database", _no_database),
    _kind(
        r"in use: \(.*, (\d+)\)|connection to \(.*, (\d+)\) failed: .*in use|EADDRINUSE.*:(\d+)"
        r"|(?:Address|Connection) (?:already )?in use",
        _port,
    ),
    _kind(r"^Failed to build `", _package_build),
)
