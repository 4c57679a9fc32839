"""Read requirements files as pip does, and write them again as one plain list, so that uv installs what was read."""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from optparse import OptionParser, Values
from pathlib import Path
from typing import Final, NoReturn

from hookd.model.hint import Hint, HintKind
from hookd.model.text import printable
from worker.environment.commit_files import CommitFiles
from worker.environment.encoding import decode
from worker.errors import CommitRefused

_MAX_FILES: Final = 50
_MAX_LINES: Final = 5000
# 400 hashes are shorter.
_MAX_LINE: Final = 32 * 1024
# shlex takes the square of a word's length.
_MAX_QUOTED: Final = 512
_COMMENT: Final = re.compile(r"(?<!\S)#.*")
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<place>\S+)")
_URL: Final = re.compile(r"(?!file:)[a-z+]+://|git@", re.IGNORECASE)
_ON_DISK: Final = re.compile(
    r"[./~]|file:|[^\s:<>=!;@\[]*/|\S*\.(?:zip|whl|t[a-z]z|tar\.[a-z0-9]+)(?:$|[\s;#\[])", re.IGNORECASE
)
_PATH: Final = re.compile(r"(?P<path>[^\s;\[#]+)(?P<extras>\[[^\]]*\])?(?P<fragment>#\S*)?(?P<rest>\s*;.*|\s*)")
# pip's options of a file, and those of one requirement. True: an option with a value.
_OPTIONS: Final = {
    ("-i", "--index-url", "--pypi-url"): True,
    ("--extra-index-url",): True,
    ("--no-index",): False,
    ("-c", "--constraint"): True,
    ("-r", "--requirement"): True,
    ("-e", "--editable"): True,
    ("-f", "--find-links"): True,
    ("--no-binary",): True,
    ("--only-binary",): True,
    ("--prefer-binary",): False,
    ("--require-hashes",): False,
    ("--pre",): False,
    ("--trusted-host",): True,
    ("--use-feature",): True,
    ("--hash",): True,
    ("-C", "--config-settings", "--config-setting"): True,
    ("--global-option",): True,
}
_FREEZE_HINT: Final = Hint(HintKind.FREEZE_PACKAGES)


@dataclass
class PackageList:
    """The packages of a requirements file and of all that it includes.

    `lines` and `constraints` are plain: absolute paths, no comment, nothing included. `texts` are the files' contents,
    `links` the directories with wheels, `variables` the names in `${NAME}`. `options` are for uv's command line.
    """

    lines: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    local: list[Path] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    is_hashed: bool = False


def read_package_list(files: CommitFiles, first: Path, directory: Path) -> PackageList:
    """Read a requirements file, and the files that it includes. Raises CommitRefused.

    `directory` is the app's, from which pip would run.
    """
    return _Reader(files, directory).read(first)


def read_lines(files: CommitFiles, lines: Iterable[str], lock: Path) -> PackageList:
    """Read the lines that a lock was turned into, as if they were a requirements file. Raises CommitRefused."""
    return _Reader(files, lock.parent).read_lines(lines, lock)


class _Reader:
    """Reads one requirements file with its includes, each of them once."""

    def __init__(self, files: CommitFiles, directory: Path) -> None:
        self._files, self._directory = files, directory
        self._found = PackageList()
        self._options = _Options()
        self._left = _MAX_LINES

    def read(self, first: Path) -> PackageList:
        """Read the files in the order in which they name each other."""
        self._file(first, self._found.lines, ())
        return self._checked(first)

    def read_lines(self, lines: Iterable[str], path: Path) -> PackageList:
        """Read lines as if they were those of a file."""
        for line in lines:
            self._line(line, path, self._found.lines, (path,))
        return self._checked(path)

    def _checked(self, path: Path) -> PackageList:
        """Return the list. Raises CommitRefused for a line that uv would read as two, or with another option."""
        for line in (*self._found.lines, *self._found.constraints):
            options = [word for word in line.split()[1:] if word.startswith("-") and not word.startswith("--hash=")]
            if options or not line.isprintable():
                raise _unreadable(line, path)
        return self._found

    def _file(self, path: Path, lines: list[str], above: tuple[Path, ...]) -> None:
        if self._files.find(path) is None:
            raise CommitRefused(f"{above[-1].name if above else path.name} includes {path}, which is not in the commit")
        if path in above or len(self._found.texts) >= _MAX_FILES:
            raise CommitRefused(f"{path.name} includes more than {_MAX_FILES} files, or itself")
        content = self._files.read(path)
        self._found.texts.append(content)
        for line in logical_lines(decode(content)):
            self._found.variables |= set(_VARIABLE.findall(line))
            self._line(line, path, lines, (*above, path))

    def _line(self, line: str, path: Path, lines: list[str], above: tuple[Path, ...]) -> None:
        self._left -= 1
        if self._left < 0 or len(line) > _MAX_LINE:
            raise CommitRefused(f"{path.name} has more than {_MAX_LINES} lines, or one above {_MAX_LINE} characters")
        if not line.isprintable():
            raise _unreadable(line, path)
        requirement, options = _split(self._options, line, path)
        if requirement:
            given = [*options.config_settings, *options.global_option]
            if given:
                raise CommitRefused(f"{path.name} has an option for one build, which uv cannot take ({line[:80]})")
            hashes = "".join(f" --hash={value}" for value in options.hash)
            self._found.is_hashed |= bool(hashes)
            lines.append(self._requirement(requirement, path) + hashes)
            return
        lines += [self._requirement(name, path) for name in options.editable]
        for name in options.requirement:
            self._include(name, path, lines, above, "-r")
        for name in options.constraint:
            self._include(name, path, self._found.constraints, above, "-c")
        lines += [f"--find-links {self._links(place, path)}" for place in options.find_links]
        self._settings(options, lines)

    def _include(self, name: str, path: Path, lines: list[str], above: tuple[Path, ...], option: str) -> None:
        if _URL.match(name):
            lines.append(f"-r {name}" if option == "-r" else f"-c {name}")
        else:
            self._file(path.parent / name, lines, above)

    def _settings(self, options: Values, lines: list[str]) -> None:
        """Keep the options that decide where packages come from and how they are built."""
        lines += [f"--index-url {url}" for url in options.index_url]
        lines += [f"--extra-index-url {url}" for url in options.extra_index_url]
        lines += ["--no-index"] * bool(options.no_index)
        lines += [f"--no-binary {name}" for name in options.no_binary]
        lines += [f"--only-binary {name}" for name in options.only_binary]
        self._found.is_hashed |= bool(options.require_hashes)
        self._found.options += ["--prerelease", "allow"] * bool(options.pre)
        for host in options.trusted_host:
            self._found.options += ["--allow-insecure-host", host]

    def _links(self, place: str, path: Path) -> str:
        if _URL.match(place):
            return place
        directory = self._inside(place.removeprefix("file:"), path, place)
        if not directory.is_dir():
            raise CommitRefused(f"{path.name} names {place[:80]} for --find-links, which is no directory")
        self._found.links.append(directory)
        return str(directory)

    def _requirement(self, text: str, path: Path) -> str:
        """Return a requirement with the absolute path of a package in the commit."""
        named = _NAMED.match(text)
        place = named["place"] if named else text
        if _URL.match(place) or not _ON_DISK.match(place):
            return text
        match = _PATH.match(text[named.start("place") :] if named else text)
        if match is None:
            raise _unreadable(text, path)
        local = self._inside(match["path"].removeprefix("file://").removeprefix("file:"), path, text)
        self._found.local.append(local)
        extras = (named and named["extras"]) or match["extras"] or ""
        name = f"{named['name']}{extras} @ file://{local}" if named else f"{local}{extras}"
        return f"{name}{match['rest']}".rstrip()

    def _inside(self, place: str, path: Path, text: str) -> Path:
        """Return a place in the commit: from the app's directory, or else from that of the file."""
        for start in (self._directory, path.parent):
            found = self._files.find(start / place)
            if found is not None and found.exists():
                return found
        raise CommitRefused(f"{path.name} needs {text[:80]}, which is not in the commit", hint=_FREEZE_HINT)


def logical_lines(text: str) -> Iterator[str]:
    """Return the lines that mean something: joined at each backslash, without comments, blanks as plain ones."""
    joined = ""
    for raw in text.splitlines():
        is_comment = raw.lstrip().startswith("#")
        is_continued = raw.endswith("\\") and not is_comment
        piece = raw[:-1] if is_continued else raw
        joined += f" {piece}" if is_comment and joined else piece
        if is_continued:
            continue
        if line := _clean(joined):
            yield line
        joined = ""
    if line := _clean(joined):
        yield line


def _clean(line: str) -> str:
    return " ".join(_COMMENT.sub("", line).split())


class _Unreadable(Exception):
    """An option that pip does not know either."""


class _Options(OptionParser):
    """pip's options of a line, with its abbreviations."""

    def __init__(self) -> None:
        super().__init__(add_help_option=False)
        for names, has_value in _OPTIONS.items():
            # The name of the attribute is that of the second spelling, or of the only one.
            long = next(name for name in names if name.startswith("--"))
            action = "append" if has_value else "store_true"
            self.add_option(*names, dest=long[2:].replace("-", "_"), action=action)

    def read(self, words: list[str]) -> tuple[Values, list[str]]:
        """Return the options of a line and its other words. Raises _Unreadable."""
        empty: dict[str, object] = {
            one.dest: [] if one.action == "append" else False for one in self.option_list if one.dest
        }
        return self.parse_args(words, Values(empty))

    def error(self, msg: str) -> NoReturn:
        raise _Unreadable(msg)


def _split(options: _Options, line: str, path: Path) -> tuple[str, Values]:
    """Return the requirement of a line, and its options. Raises CommitRefused."""
    words = line.split(" ")
    start = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    try:
        values, rest = options.read(_unquoted(words[start:]))
    except (_Unreadable, ValueError) as error:
        raise _unreadable(line, path, f": {error}") from None
    requirement = " ".join([*words[:start], *rest])
    # uv would read what lies behind `--` as an option.
    if any(word.startswith("-") for word in requirement.split()):
        raise _unreadable(line, path)
    return requirement, values


def _unquoted(words: list[str]) -> list[str]:
    """Return words as a shell reads them. Raises ValueError."""
    text = " ".join(words)
    if not set(text) & set("\\\"'"):
        return words
    if len(text) > _MAX_QUOTED:
        raise ValueError(f"options with quotes exceed {_MAX_QUOTED} characters")
    return shlex.split(text)


def _unreadable(line: str, path: Path, why: str = "") -> CommitRefused:
    return CommitRefused(f"{path.name} has a line that pip cannot read ({printable(line[:80])}){why}")
