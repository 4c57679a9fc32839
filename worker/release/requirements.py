"""Read the requirements of a release, and reject those that would run code during the installation."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from hookd.model.hint import Hint, HintKind
from worker.errors import CommitRefused

RequirementsKind = Literal["lock", "hashed", "plain", "project", "none"]
_DEFAULT_FILES: Final = ("uv.lock", "requirements.txt", "pyproject.toml")
_MAX_FILES: Final = 50

# A short option may stand directly before its value, as in `-rbase.txt`.
_INCLUDE: Final = re.compile(r"(?:--requirement|--constraint|-r|-c)[\s=]*([A-Za-z0-9_./-]+)")
# One option with one plain value: a package or a URL, never a path.
_ONE_OPTION: Final = re.compile(r"-{1,2}[A-Za-z-]+(?:[ =]\s*(?:https?://\S+|[A-Za-z0-9:._,-]+))?")
# uv and pip-tools write each hash on a line of its own. No other line may be continued.
_BEFORE_HASH: Final = re.compile(r"\s*\\\r?\n\s*(?=--hash=)")
_AMBIGUOUS: Final = re.compile(r"[^\S\n\r\t ]|[\x00-\x08\x0e-\x1f\x7f\ufeff]|\$\{|(?m:^[ \t]*#.*coding[:=])")
_OPTION: Final = re.compile(r"--[A-Za-z-]+|-[A-Za-z]")
# All other options are rejected: `-e` and `--no-binary`, for example, would run the build code of a package.
_ALLOWED_OPTIONS: Final = frozenset(
    "-i -f --index-url --extra-index-url --no-index --find-links --only-binary --prefer-binary --require-hashes --pre "
    "--trusted-host --hash".split()
)
_DIRECT_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*")
_ON_DISK: Final = re.compile(r"[./~]|file:|[^\s:<>=!;@]*/|\S*\.(?:zip|whl|t[a-z]z|tar\.[a-z0-9]+)$")
_URL: Final = re.compile(r"(?!file:)[a-z+]+://")
_WHEEL: Final = re.compile(r"\S+\.whl(?:[#?]|$)")
ALLOW_BUILD_HINT: Final = Hint(HintKind.ALLOW_BUILD)


@dataclass(frozen=True)
class Requirements:
    """The requirements of a release: the kind, the file, and the texts of the file and of all files it includes."""

    kind: RequirementsKind
    file: Path | None
    texts: tuple[bytes, ...]


def read_requirements(release: Path, file: str | None, *, allow_build: bool = False) -> Requirements:
    """Read the requirements of a release. Raises CommitRefused for a file that cannot be used."""
    name = file or next((name for name in _DEFAULT_FILES if (release / name).is_file()), None)
    if name is None:
        return Requirements("none", None, ())
    path = release / name
    if not path.is_file():
        raise CommitRefused(f"the commit has no {name}, which dependencies.file asks for")
    if path.name == "uv.lock":
        project = path.with_name("pyproject.toml")
        _reject_local_sources(project)
        return Requirements("lock", path, (_read_bytes(path), _read_bytes(project)))
    if path.suffix == ".toml":
        _reject_local_sources(path)
        for requirement in _project_requirements(path):
            _reject_build(requirement, path, allow_build=allow_build)
        return Requirements("project", path, (_read_bytes(path),))
    texts = _read_with_includes(release, path, allow_build=allow_build)
    return Requirements("hashed" if b"--hash=" in b"".join(texts) else "plain", path, texts)


def _read_with_includes(release: Path, first: Path, *, allow_build: bool) -> tuple[bytes, ...]:
    """Read a requirements file and the files that it includes. Raises CommitRefused."""
    texts: list[bytes] = []
    waiting = [first]
    while waiting:
        path = waiting.pop(0)
        if not path.resolve().is_relative_to(release.resolve()):
            raise CommitRefused(f"{first.name} includes {path}, which is not in the commit")
        if len(texts) >= _MAX_FILES:
            raise CommitRefused(f"{first.name} includes more than {_MAX_FILES} files, or itself")
        text = _read_text(path)
        texts.append(text.encode())
        waiting += [path.parent / name for name in _parse_lines(text, path, allow_build=allow_build)]
    return tuple(texts)


def _read_text(path: Path) -> str:
    """Return a requirements file as text. Raises CommitRefused for text that installers read in another way.

    They follow byte order marks and `coding` comments, and replace `${VARIABLES}`.
    """
    try:
        text = _read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise CommitRefused(f"{path.name} is not UTF-8 text") from None
    if odd := _AMBIGUOUS.search(text):
        raise CommitRefused(f"{path.name} contains {odd[0]!r}, which installers read in their own ways")
    return text


def _parse_lines(text: str, path: Path, *, allow_build: bool) -> list[str]:
    """Return the names of the files that a requirements file includes. Raises CommitRefused for an unsafe line."""
    found = []
    for raw in _BEFORE_HASH.sub(" ", text).split("\n"):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if line.endswith("\\"):
            raise CommitRefused(f"{path.name} continues a line that needs no continuation ({line[:80]})")
        option = _OPTION.match(line)
        if include := _INCLUDE.fullmatch(line):
            found.append(include[1])
        elif option is None:
            _reject_extra_options(line, path)
            _reject_build(line, path, allow_build=allow_build)
        elif option[0] not in _ALLOWED_OPTIONS and not (allow_build and option[0] == "--no-binary"):
            raise CommitRefused(
                f"{path.name} uses {option[0]}, which could run build code of a package ({line[:80]})",
                hint=ALLOW_BUILD_HINT,
            )
        elif not _ONE_OPTION.fullmatch(line):
            raise CommitRefused(f"{path.name} has several options or a local address in a line ({line[:80]})")
    return found


def _reject_extra_options(requirement: str, path: Path) -> None:
    """Raise CommitRefused for an option behind a requirement, except its hashes."""
    for part in requirement.split(" ")[1:]:
        if part.startswith("-") and not part.startswith("--hash="):
            raise CommitRefused(
                f"{path.name} uses {part} behind a requirement ({requirement[:80]})", hint=ALLOW_BUILD_HINT
            )


def _reject_build(requirement: str, path: Path, *, allow_build: bool) -> None:
    """Raise CommitRefused for a requirement from a path, or from a URL that is no wheel.

    `allow_build` allows such URLs. It does not allow paths, because their content is not part of the environment's key.
    """
    name = _DIRECT_REFERENCE.match(requirement)
    place = requirement[name.end() if name else 0 :].split(" ", 1)[0]
    if _URL.match(place):
        if not allow_build and not _WHEEL.match(place):
            raise CommitRefused(f"{path.name} would run the build code of {requirement[:80]}", hint=ALLOW_BUILD_HINT)
    elif _ON_DISK.match(place):
        raise CommitRefused(f"{path.name} installs from the commit itself ({requirement[:80]}), not from an index")


def _reject_local_sources(path: Path) -> None:
    """Raise CommitRefused for packages from the commit itself: uv runs the build code of editable ones."""
    for name, given in _read_table(path, "tool", "uv", "sources").items():
        choices = given if isinstance(given, list) else [given]
        if any(isinstance(choice, dict) and {"path", "workspace"} & set(choice) for choice in choices):
            raise CommitRefused(f"{path.name} installs {name} from the commit itself, not from an index")


def _read_table(path: Path, *keys: str) -> dict[str, Any]:
    """Return a table of a TOML file, empty if it is missing. Raises CommitRefused."""
    try:
        found: Any = tomllib.loads(_read_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommitRefused(f"{path.name} is not TOML: {error}") from None
    for key in keys:
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise CommitRefused(f"{path.name} has a {'.'.join(keys)} that is no table")
    return cast("dict[str, Any]", found)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommitRefused(f"{path.name} cannot be read: {error.strerror}") from None


def _project_requirements(file: Path) -> tuple[str, ...]:
    found = _read_table(file, "project").get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise CommitRefused(f"{file.name} has a project.dependencies that is no list of texts")
    return tuple(found)
