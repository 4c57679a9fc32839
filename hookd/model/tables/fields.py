"""Types of single values in configuration files. A parsed value is safe in a path, a unit and an argument vector."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from hookd.model.ids import is_branch

# User and host must not look like an option of ssh, nor the path like one of git.
_USER: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_SCP_URL: Final = re.compile(rf"{_USER}@{_HOST}:(?!//|-)[^\s?#]+")
_NETLOC: Final = re.compile(rf"(?:{_USER}@)?(?:{_HOST}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
# Signs that only a shell would act on.
_SHELL: Final = re.compile(r"[|&;<>`$*?~(){}\[\]\n#\\]|^\s*\w+=")
_COMMAND: Final = 'a command such as ["npm", "ci"]'
_COMMANDS: Final = 'a list of commands such as [["npm", "ci"], ["npm", "run", "build"]]'
_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ENTRY: Final = "a module and its callable such as shop.wsgi:app or shop:create_app('production')"
# Names with a meaning in a release's directory.
RESERVED_NAMES: Final = frozenset({"venv", ".git"})


class Section(BaseModel, frozen=True, extra="forbid"):
    """A table of a configuration file. An unknown key is an error."""


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a check that a whole text fits `pattern`, and that its group `port` is a port. `expected` is shown."""

    def check(text: str) -> str:
        match = re.fullmatch(pattern, text)
        if match is None or int(match.groupdict().get("port") or 1) not in range(1, 65_536):
            raise ValueError(expected)
        return text

    return AfterValidator(check)


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts or "\x00" in str(path):
        raise ValueError("an absolute path without .., such as /var/lib/hookd")
    return path


def _repository(url: str) -> str:
    if not url.isprintable() or " " in url:
        raise ValueError("a URL without blanks and control characters")
    if _SCP_URL.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("a URL that names a host") from None
    if parts.scheme not in ("https", "ssh", "http", "file"):
        raise ValueError("ssh://…, https://… or git@host:owner/name.git")
    if parts.query or parts.fragment or parts.password is not None or (parts.username and parts.scheme != "ssh"):
        own = f"git@{parts.hostname}:{parts.path.strip('/')}" if parts.hostname and parts.path.strip("/") else ""
        example = f", such as {own}" if _SCP_URL.fullmatch(own) else ""
        raise ValueError(f"a URL without credentials, query or fragment, because a deploy key gives access{example}")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("file:///path/to/repository.git")
    if parts.scheme != "file" and not _NETLOC.fullmatch(parts.netloc):
        raise ValueError("a URL that names a host")
    return url


def _branch(name: str) -> str:
    name = name.removeprefix("refs/heads/")
    if name.startswith("refs/"):
        raise ValueError("a branch such as main, because tags and other references do not move")
    if not is_branch(name):
        raise ValueError("a branch name that git accepts, such as main")
    return name


def _pattern(text: str) -> str:
    if not text.isprintable() or text.startswith((":", "/", "-", "!", "^")) or ".." in text.split("/"):
        raise ValueError("a pattern from the top of the repository, such as src/** or *.md")
    return text


def _inside(path: str) -> str:
    parts = path.split("/")
    if "\x00" in path or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError("a relative path inside the release, such as uploads or var/cache")
    if parts[0] in RESERVED_NAMES:
        raise ValueError(f"another name: {parts[0]} is hookd's or git's own")
    if "*" in path or "?" in path:
        raise ValueError(f"a name without * and ?, such as {parts[0].translate({42: None, 63: None}) or 'uploads'}")
    return path


def _words(value: Any) -> Any:
    """Split a command that is written as text, unless only a shell could read it."""
    if isinstance(value, str):
        if _SHELL.search(value):
            raise ValueError(f"{_COMMAND}. Only a shell reads this: {json.dumps(['sh', '-c', value])}")
        try:
            return tuple(shlex.split(value))
        except ValueError:
            raise ValueError(_COMMAND) from None
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{_COMMAND}, each word in quotes")
    return value


def _backup(value: Any) -> Any:
    return value if value == "sqlite" else _words(value)


def _commands(value: Any) -> Any:
    """Take one command as text for a list of it. A list of single words could be one command or several."""
    if isinstance(value, str):
        return (_words(value),)
    is_list = isinstance(value, list | tuple)
    if is_list and len(value) > 1 and all(isinstance(word, str) and len(word.split()) == 1 for word in value):
        raise ValueError(f"{_COMMANDS}. This one is perhaps {json.dumps([value])}")
    if not is_list or not all(isinstance(command, str | list | tuple) for command in value):
        raise ValueError(_COMMANDS)
    return value


def _entry(text: str) -> str:
    """Check an app's entry as gunicorn reads it: `module:name`, or a call with literal arguments."""
    module, colon, name = text.partition(":")
    if _MODULE.fullmatch(module) is None or not text.isprintable() or not (name or not colon):
        raise ValueError(_ENTRY)
    if not colon:
        return text
    try:
        found = ast.parse(name, mode="eval").body
        if isinstance(found, ast.Call):
            for value in (*found.args, *(keyword.value for keyword in found.keywords)):
                ast.literal_eval(value)
            found = ast.Name("") if any(keyword.arg is None for keyword in found.keywords) else found.func
    except (SyntaxError, ValueError):
        raise ValueError(_ENTRY) from None
    if not isinstance(found, ast.Name) or not found.id:
        raise ValueError(_ENTRY)
    return text


def overlaps(first: str, second: str) -> bool:
    """Return True if two directories of a release are the same, or one lies in the other."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Account = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
_Argument = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Words = Annotated[tuple[_Argument, ...], Field(max_length=200), BeforeValidator(_words)]
Argv = Annotated[Words, Field(min_length=1)]
# The last check is of a command that `_backup` has split.
Backup = Annotated[
    Annotated[tuple[_Argument, ...], Field(min_length=1, max_length=200)] | Literal["sqlite"], BeforeValidator(_backup)
]
Commands = Annotated[tuple[Argv, ...], BeforeValidator(_commands)]
Bind = Annotated[
    str,
    matching(
        r"unix:/[^\s:]+|(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})",
        "127.0.0.1:8787, or unix:/run/hookd/receiver.sock",
    ),
]
BranchName = Annotated[str, AfterValidator(_branch)]
Domain = Annotated[
    str,
    matching(
        r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}",
        "a domain in lower case, such as shop.example.org",
    ),
]
Entry = Annotated[str, Field(max_length=500), AfterValidator(_entry)]
HealthStatus = Annotated[int, Field(ge=100, le=599)] | Literal["<500"]
HealthUrl = Annotated[
    str,
    matching(
        r"http://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:(?P<port>[0-9]{1,5}))?(/[!-~]*)?|unix:/[^:\s]+:/[!-~]*",
        "http://127.0.0.1:8000/healthz or unix:/run/shop/health.sock:/healthz",
    ),
]
InsidePath = Annotated[str, Field(max_length=255), AfterValidator(_inside)]
Listen = Annotated[
    str,
    matching(
        r"(?!.*\.\.)(?:unix:/[A-Za-z0-9._/-]+|(?:[0-9.]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5}))",
        "unix:/run/hookd-apps/shop.sock or 127.0.0.1:8000",
    ),
]
Mail = Annotated[
    str,
    Field(max_length=254),
    matching(r"[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9][A-Za-z0-9.-]*", "a mail address such as ops@example.org"),
]
MemorySize = Annotated[
    str, matching(r"[1-9][0-9]{0,5}[MG]|(?:[1-9][0-9]?|100)%", "a size such as 512M or 2G, or a share such as 75%")
]
# As files of nginx take it.
PlainPath = Annotated[
    InsidePath, matching(r"[A-Za-z0-9._/@+~%-]+", "a path of letters, digits and . _ - + @ ~ %, such as static")
]
PackageGroup = Annotated[str, matching(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", "a name such as prod")]
Pattern = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_pattern)]
Protocol = Literal["https", "ssh", "http", "file"]
PythonChoice = Annotated[
    str,
    matching(
        r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?|(?!.*/\.\.(?:/|$))/[^\x00\s]+",
        "a version such as 3.12, or a path such as /usr/bin/python3.12",
    ),
]
RedisUrl = Annotated[
    str,
    matching(
        r"unix://(?:[^\s@/]*@)?/[^\s]+|rediss?://[^\s/]+(?:/[^\s]*)?",
        "unix:///run/hookd/redis.sock?db=0, or redis://HOST:PORT/0",
    ),
]
ServiceName = Annotated[
    str,
    Field(max_length=120),
    matching(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", "a service such as shop-celery.service"),
    AfterValidator(lambda name: name.removesuffix(".service")),
]
UrlPrefix = Annotated[
    str,
    Field(max_length=255),
    matching(r"/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)+", "a prefix such as /static/ or /assets/img/"),
]
Repository = Annotated[str, Field(max_length=1000), AfterValidator(_repository)]
