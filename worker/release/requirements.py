"""MISSING"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from worker.errors import CommitRefused

Kind = Literal["lock", "hashed", "plain", "project", "none"]
_FOUND: Final = ("uv.lock", "requirements.txt", "pyproject.toml")
_MOST_FILES: Final = 50

# pip takes a short option and its value without a space between them, too.
_INCLUDE: Final = re.compile(r"(?:--requirement|--constraint|-r|-c)[\s=]*([A-Za-z0-9_./-]+)")
# One option with one plain value: a package or an address, never a place on the disk.
_ONE_OPTION: Final = re.compile(r"-{1,2}[A-Za-z-]+(?:[ =]\s*(?:https?://\S+|[A-Za-z0-9:._,-]+))?")
# Hashes stand on lines of their own, as uv and pip-tools write them; nothing else may be continued.
_BEFORE_HASH: Final = re.compile(r"\s*\\\r?\n\s*(?=--hash=)")
_ODD: Final = re.compile(r"[^\S\n\r\t ]|[\x00-\x08\x0e-\x1f\x7f\ufeff]|\$\{|(?m:^[ \t]*#.*coding[:=])")
_OPTION: Final = re.compile(r"--[A-Za-z-]+|-[A-Za-z]")
# Everything else is refused, by its full name or abbreviated: `-e` and `--no-binary` would run a package's build code.
_HARMLESS: Final = frozenset(
    "-i -f --index-url --extra-index-url --no-index --find-links --only-binary --prefer-binary --require-hashes --pre "
    "--trusted-host --hash".split()
)
_NAMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*")
_ON_DISK: Final = re.compile(r"[./~]|file:|[^\s:<>=!;@]*/|\S*\.(?:zip|whl|t[a-z]z|tar\.[a-z0-9]+)$")
_URL: Final = re.compile(r"(?!file:)[a-z+]+://")
_WHEEL: Final = re.compile(r"\S+\.whl(?:[#?]|$)")
_HINT: Final = "set dependencies.allow_build = true in the app's file, to let packages run build code as the worker"


@dataclass(frozen=True)
class Wanted:
    """What a release needs: the file that says so, its kind, and everything that file draws in."""

    kind: Kind
    file: Path | None
    texts: tuple[bytes, ...]


def wanted(release: Path, file: str | None, *, allow_build: bool = False) -> Wanted:
    """Find out what a release needs; raises CommitRefused for a file that cannot be used."""
    name = file or next((name for name in _FOUND if (release / name).is_file()), None)
    if name is None:
        return Wanted("none", None, ())
    path = release / name
    if not path.is_file():
        raise CommitRefused(f"the commit has no {name}, which dependencies.file asks for")
    if path.name == "uv.lock":
        project = path.with_name("pyproject.toml")
        _refuse_sources_on_disk(project)
        return Wanted("lock", path, (_bytes(path), _bytes(project)))
    if path.suffix == ".toml":
        _refuse_sources_on_disk(path)
        for requirement in _project_requirements(path):
            _refuse_build(requirement, path, allow_build=allow_build)
        return Wanted("project", path, (_bytes(path),))
    texts = _with_included(release, path, allow_build=allow_build)
    return Wanted("hashed" if b"--hash=" in b"".join(texts) else "plain", path, texts)


def _with_included(release: Path, first: Path, *, allow_build: bool) -> tuple[bytes, ...]:
    """Read a requirements file and the files it includes; refuses what would run code of the repository."""
    texts: list[bytes] = []
    waiting = [first]
    while waiting:
        path = waiting.pop(0)
        if not path.resolve().is_relative_to(release.resolve()):
            raise CommitRefused(f"{first.name} includes {path}, which is not in the commit")
        if len(texts) >= _MOST_FILES:
            raise CommitRefused(f"{first.name} includes more than {_MOST_FILES} files, or itself")
        text = _plain_text(path)
        texts.append(text.encode())
        waiting += [path.parent / name for name in _included(text, path, allow_build=allow_build)]
    return tuple(texts)


def _plain_text(path: Path) -> str:
    """Read a requirements file as uv and pip read it, too; refuses what they take otherwise than it looks here.

    Both follow a byte order mark, pip also a `coding` comment, and both fill in `${VARIABLES}`.
    """
    try:
        text = _bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise CommitRefused(f"{path.name} is not UTF-8 text") from None
    if odd := _ODD.search(text):
        raise CommitRefused(f"{path.name} contains {odd[0]!r}, which installers read in their own ways")
    return text


def _included(text: str, path: Path, *, allow_build: bool) -> list[str]:
    """Name the files that a requirements file includes; raises CommitRefused for a line that is not plain."""
    found = []
    for raw in _BEFORE_HASH.sub(" ", text).split("\n"):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if line.endswith("\\"):
            raise CommitRefused(f"{path.name} continues a line that needs no continuation ({line[:80]})")
        option = _OPTION.match(line)
        if include := _INCLUDE.fullmatch(line):
            found.append(include[1])
        elif option is None:
            _refuse_more(line, path)
            _refuse_build(line, path, allow_build=allow_build)
        elif option[0] not in _HARMLESS and not (allow_build and option[0] == "--no-binary"):
            raise CommitRefused(
                f"{path.name} uses {option[0]}, which could run build code of a package ({line[:80]})", hint=_HINT
            )
        elif not _ONE_OPTION.fullmatch(line):
            raise CommitRefused(f"{path.name} has more than one option, or a local address, in a line ({line[:80]})")
    return found


def _refuse_more(requirement: str, path: Path) -> None:
    """Refuse options behind a requirement, but for its hashes."""
    for part in requirement.split(" ")[1:]:
        if part.startswith("-") and not part.startswith("--hash="):
            raise CommitRefused(f"{path.name} uses {part} behind a requirement ({requirement[:80]})", hint=_HINT)


def _refuse_build(requirement: str, path: Path, *, allow_build: bool) -> None:
    """Refuse a requirement that installers take from the disk, or from an address that holds no wheel.

    What lies on the disk is refused in any case: it is part of the commit and does not change the environment's key.
    """
    name = _NAMED.match(requirement)
    place = requirement[name.end() if name else 0 :].split(" ", 1)[0]
    if _URL.match(place):
        if not allow_build and not _WHEEL.match(place):
            raise CommitRefused(f"{path.name} would run the build code of {requirement[:80]}", hint=_HINT)
    elif _ON_DISK.match(place):
        raise CommitRefused(f"{path.name} installs from the commit itself ({requirement[:80]}), not from an index")


def _refuse_sources_on_disk(path: Path) -> None:
    """Refuse packages that uv would take from the commit itself; it runs the build code of editable ones."""
    for name, given in _table(path, "tool", "uv", "sources").items():
        choices = given if isinstance(given, list) else [given]
        if any(isinstance(choice, dict) and {"path", "workspace"} & set(choice) for choice in choices):
            raise CommitRefused(f"{path.name} installs {name} from the commit itself, not from an index")


def _table(path: Path, *keys: str) -> dict[str, Any]:
    """Read a table of a TOML file; one that is not there is empty."""
    try:
        found: Any = tomllib.loads(_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommitRefused(f"{path.name} is not TOML: {error}") from None
    for key in keys:
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise CommitRefused(f"{path.name} has a {'.'.join(keys)} that is no table")
    return cast("dict[str, Any]", found)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommitRefused(f"{path.name} cannot be read: {error.strerror}") from None


def _project_requirements(file: Path) -> tuple[str, ...]:
    found = _table(file, "project").get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise CommitRefused(f"{file.name} has a project.dependencies that is no list of texts")
    return tuple(found)
