"""Types of single values in an app's file. A parsed value is safe in a path, a unit and an argument vector."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from hookd.model.ids import is_branch

Argument = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Argv = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=200)]
# User and host must not look like an option of ssh, nor the path like one of git.
_USER: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_SCP_URL: Final = re.compile(rf"{_USER}@{_HOST}:(?!//|-)[^\s?#]+")
_NETLOC: Final = re.compile(rf"(?:{_USER}@)?(?:{_HOST}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_HEALTH_URL: Final = re.compile(
    r"http://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:(?P<port>[0-9]{1,5}))?(/[!-~]*)?|unix:/[^:\s]+:/[!-~]*"
)
_SCHEMES: Final = ("https", "ssh", "http", "file")
_LISTEN: Final = re.compile(r"unix:/[A-Za-z0-9._/-]+|(?:[0-9.]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
# Names with a meaning in a release's directory.
_RESERVED: Final = frozenset({"venv", ".git"})


def _repository(url: str) -> str:
    if not url.isprintable() or " " in url:
        raise ValueError("a URL without blanks and control characters")
    if _SCP_URL.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("a URL that names a host") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError("ssh://…, https://… or git@host:owner/name.git")
    if parts.query or parts.fragment or parts.password is not None:
        raise ValueError("a URL without password, query or fragment, because a deploy key gives access")
    if parts.username is not None and parts.scheme != "ssh":
        raise ValueError("a URL without credentials, because a deploy key gives access")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("file:///path/to/repository.git")
    if parts.scheme != "file" and not _NETLOC.fullmatch(parts.netloc):
        raise ValueError("a URL that names a host")
    return url


def _branch(name: str) -> str:
    if not is_branch(name):
        raise ValueError("a branch name that git accepts, such as main")
    return name


def _listen(text: str) -> str:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"] or 1) not in range(1, 65_536) or ".." in text:
        raise ValueError("unix:/run/hookd-apps/shop.sock or 127.0.0.1:8000")
    return text


def _domain(text: str) -> str:
    if _DOMAIN.fullmatch(text) is None:
        raise ValueError("a domain in lower case, such as shop.example.org")
    return text


def _health_url(url: str) -> str:
    match = _HEALTH_URL.fullmatch(url)
    if match is None or int(match["port"] or 80) not in range(1, 65_536):
        raise ValueError("http://127.0.0.1:8000/healthz or unix:/run/shop/health.sock:/healthz")
    return url


def _pattern(text: str) -> str:
    if not text.isprintable() or text.startswith((":", "/", "-", "!", "^")) or ".." in text.split("/"):
        raise ValueError("a pattern from the top of the repository, such as src/** or *.md")
    return text


def _inside(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or not path or any(part in ("", ".", "..") for part in parts) or "\x00" in path:
        raise ValueError("a relative path inside the release, such as uploads or var/cache")
    if parts[0] in _RESERVED:
        raise ValueError(f"another name: {parts[0]} is hookd's or git's own")
    return path


Account = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
BranchName = Annotated[str, AfterValidator(_branch)]
Domain = Annotated[str, AfterValidator(_domain)]
HealthUrl = Annotated[str, AfterValidator(_health_url)]
Pattern = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_pattern)]
InsidePath = Annotated[str, Field(max_length=255), AfterValidator(_inside)]
Listen = Annotated[str, AfterValidator(_listen)]
Repository = Annotated[str, Field(max_length=1000), AfterValidator(_repository)]
