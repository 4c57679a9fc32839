"""Shell lines of a Procfile, a Dockerfile and a script, read as the commands in them. No shell reads them."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?[-=]([^{}]*))?\})")
_KEYWORDS: Final = frozenset("if then else elif fi while until do done ! { } case esac in".split())
# Programs that start the command behind them.
_WRAPPERS: Final = frozenset(
    "exec env time nohup command newrelic-admin run-program ddtrace-run opentelemetry-instrument dumb-init tini "
    "gosu su-exec nice stdbuf heroku-nginx start-nginx bin/start-nginx bin/start-pgbouncer bin/qgtunnel".split()
)
_RUNNERS: Final = frozenset("poetry uv pipenv pdm hatch rye".split())
_WITH_USER: Final = frozenset(("gosu", "su-exec"))
# Modules that `python -m` starts like the programs of their names.
_MODULES: Final = frozenset(
    "gunicorn uvicorn hypercorn daphne granian waitress flask celery alembic rq dramatiq fastapi".split()
)
_PYTHON: Final = re.compile(r"(?:python|pypy)[\d.]*")
SHELLS: Final = frozenset(("sh", "bash", "dash", "ash"))
_HEREDOC: Final = re.compile(r"<<-?\s*[\"']?(\w+)")
_MAX_LINES: Final = 2000
_MAX_LENGTH: Final = 8192


@dataclass(frozen=True)
class Command:
    """A command of a shell line: its words without wrappers, and the variables before it."""

    words: tuple[str, ...]
    line: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The program's name without its directory."""
        return self.words[0].rpartition("/")[2]

    @property
    def is_python(self) -> bool:
        """True for an interpreter of Python."""
        return bool(_PYTHON.fullmatch(self.program))

    @property
    def argv(self) -> tuple[str, ...]:
        """The words to run without a shell: `env` sets the variables, and Python starts Django's script."""
        words = self.words
        if self.program == "manage.py":
            words = ("python", words[0].removeprefix("./"), *words[1:])
        given = tuple(f"{name}={value}" for name, value in self.variables.items())
        return ("env", *given, *words) if given else words


def read_script(text: str, variables: Mapping[str, str] | None = None) -> tuple[Command, ...]:
    """Return the commands of a script or a line in their order, with known variables replaced."""
    known = dict(variables or {})
    return tuple(command for number, line in logical_lines(text) for command in _of_line(line, number, known))


def read_words(words: Iterable[str], line: int = 1) -> tuple[Command, ...]:
    """Return the commands of an argument vector, whose shell or wrapper may start others."""
    given = tuple(words)
    name = given[0].rpartition("/")[2] if given else ""
    if name in SHELLS and (place := _shell_text(given)):
        return tuple(Command(one.words, line, one.variables) for one in read_script(given[place]))
    command = _command(list(given), line, {})
    return (command,) if command else ()


def option(words: Iterable[str], *names: str) -> str | None:
    """Return the value of a command line's option: `-w 4`, `-w4`, `--workers 4` or `--workers=4`."""
    listed = list(words)
    for place, word in enumerate(listed):
        if word in names:
            return listed[place + 1] if place + 1 < len(listed) else None
        for name in names:
            if name.startswith("--") and word.startswith(f"{name}="):
                return word.partition("=")[2]
            if len(name) == 2 and word.startswith(name) and not word.startswith("--"):
                return word[2:].removeprefix("=")
    return None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace variables that are known or have a default. Others stay as they are."""

    def value(match: re.Match[str]) -> str:
        known = variables.get(match[1] or match[2])
        return next((one for one in (known, match[3]) if one is not None), match[0])

    return _VARIABLE.sub(value, text)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines of a script or a Dockerfile with their continuations, without comments and inner texts."""
    joined, begin, end = "", 1, ""
    for number, line in enumerate(text.splitlines()[:_MAX_LINES], 1):
        if end:
            end = "" if line.strip() == end else end
            continue
        if not joined:
            begin = number
        if line.lstrip().startswith("#"):
            continue
        joined += line.rstrip()
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        if heredoc := _HEREDOC.search(joined):
            end = heredoc[1]
        yield begin, joined
        joined = ""
    if joined.strip():
        yield begin, joined


def _of_line(line: str, number: int, known: dict[str, str]) -> Iterator[Command]:
    if len(line) > _MAX_LENGTH:
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return
    part: list[str] = []
    for word in [*words, ";"]:
        if word and set(word) <= set(";&|"):
            yield from _of_part(part, number, known)
            part = []
        else:
            part.append(expand(word, known))


def _of_part(words: list[str], number: int, known: dict[str, str]) -> Iterator[Command]:
    while words and words[0] in _KEYWORDS:
        words = words[1:]
    if words and words[0] in ("export", "readonly", "local"):
        words = words[1:]
    assigned = [match for word in words if (match := _ASSIGNMENT.fullmatch(word))]
    if words and len(assigned) == len(words):
        known |= {match[1]: match[2] for match in assigned}
        return
    yield from read_words(words, number)


def _command(words: list[str], line: int, variables: dict[str, str]) -> Command | None:
    """Return the command behind assignments and wrappers."""
    while words:
        name = words[0].rpartition("/")[2]
        if match := _ASSIGNMENT.fullmatch(words[0]):
            variables[match[1]] = match[2]
            words = words[1:]
        elif name in _WRAPPERS or words[0] in _WRAPPERS:
            words = _without_options(words[2:] if name in _WITH_USER else words[1:])
        elif name in _RUNNERS and "run" in words[:2]:
            words = _without_options(words[words.index("run") + 1 :])
        elif name.startswith("python") and words[1:2] == ["-m"] and words[2:3] and words[2] in _MODULES:
            words = words[2:]
        else:
            return Command(tuple(words), line, variables)
    return None


def _without_options(words: list[str]) -> list[str]:
    while words and words[0].startswith("-"):
        words = words[1:]
    return words


def _shell_text(words: tuple[str, ...]) -> int:
    """Return the place of the text behind `sh -c`, or 0."""
    return next((place + 1 for place, word in enumerate(words[:-1]) if word.startswith("-") and word.endswith("c")), 0)
