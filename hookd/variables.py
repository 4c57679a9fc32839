"""Files of variables, one NAME=value per line, read by the rules of systemd's `EnvironmentFile=`.

systemd reads such a file for an app's service, and hookd by the same rules for everything else. `misread` finds the
lines that systemd reads otherwise than they look. They are refused, so that each line has one meaning. The rules are in
systemd.exec(5), and the server tests compare this module with systemd itself.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

_DOUBLE: Final = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_QUOTED: Final = re.compile(rf"'[^']*(?:'|\Z)|{_DOUBLE}", re.DOTALL)
# A search skips blanks before a line. Both kinds of quotes and a backslash let a value span lines.
_LINE: Final = re.compile(
    rf"""(?P<comment> [#;][^\r\n]* )
    | (?P<key> [^\ \t\r\n\#;][^=\r\n]* )
      (?P<sign> = (?P<quoted> (?: [\ \t]* (?:{_QUOTED.pattern}) )* ) (?P<plain> (?:[^\\\r\n]|\\.|\\\Z)* ) )?""",
    re.DOTALL | re.VERBOSE,
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORT: Final = re.compile(r"export\s+")
_ESCAPE: Final = re.compile(r"\\(.|\Z)", re.DOTALL)
# Code points that systemd does not take for text: NUL, halves of a pair, and Unicode's noncharacters.
_PLANES: Final = range(0, 0x110000, 0x10000)
_NO_TEXT: Final = re.compile(
    f"[\0\ud800-\udfff\ufdd0-\ufdef{''.join(f'{chr(p + 0xFFFE)}{chr(p + 0xFFFF)}' for p in _PLANES)}]"
)
# A line that should be one of its own. The last line of a base64 text looks similar, but ends with its sign.
_SWALLOWED: Final = re.compile(r"\n\s*(?:export\s+)?[A-Z_][A-Z0-9_]*=(?!=?\s*$)", re.MULTILINE)
_REFERENCE: Final = re.compile(r"\$[A-Za-z_{(]")
# The kernel starts no program with a longer NAME=value.
MAX_BYTES: Final = 131_071


class UnusableVariables(ValueError):
    """systemd refuses the whole file."""


@dataclass(frozen=True)
class Problem:
    """A line that systemd reads otherwise than it looks, and the right spelling. It never holds the value."""

    line: int
    why: str
    spelling: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}, write {self.spelling}"


@dataclass(frozen=True)
class _Line:
    """One assignment or comment, which spans the text from `start` to `end`.

    `key` is the text before the sign. A value has quoted parts first, and then a plain one.
    """

    number: int
    start: int
    end: int
    key: str
    has_sign: bool = False
    quoted: tuple[str, ...] = ()
    plain: str = ""
    has_gap: bool = False

    @property
    def name(self) -> str:
        return self.key.rstrip(" \t")

    @property
    def value(self) -> str:
        return "".join([*map(_unquoted, self.quoted), _ESCAPE.sub(_unescaped, self.plain)])


def parse(text: str) -> dict[str, str]:
    """Return the variables that systemd reads. Invalid names are left out. Raises UnusableVariables."""
    if "\0" in text:
        raise UnusableVariables("a NUL byte")
    lines = [line for line in _scan(text) if line.has_sign]
    if any(_NO_TEXT.search(line.name + line.value) for line in lines):
        raise UnusableVariables("a character that is not text")
    return {line.name: line.value for line in lines if _NAME.fullmatch(line.name)}


def spell(name: str, value: str) -> str:
    """Return the line of a variable, which every reader of such files understands alike."""
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'{name}="{escaped}"\n'


def without(text: str, names: Collection[str]) -> str:
    """Return a text without the lines of some variables."""
    kept, position = [], 0
    for line in _scan(text):
        if line.has_sign and line.name in names:
            kept.append(text[position : line.start])
            position = line.end + 1  # Behind the end of the line.
    return "".join([*kept, text[position:]])


def with_variable(text: str, name: str, value: str) -> str:
    """Return a text in which a variable has a value, on the line of its old one, else on a last one."""
    line = next((line for line in _scan(text) if line.has_sign and line.name == name), None)
    if line is None:
        break_before = "" if text.endswith("\n") or not text else "\n"
        return f"{text}{break_before}{spell(name, value)}"
    return f"{text[: line.start]}{spell(name, value)}{text[line.end + 1 :]}"


def name_problems(name: str) -> list[str]:
    """Return what is wrong with the name of a variable. The text never holds a value that was typed with it."""
    if "=" in name:
        return ["a name without `=` is wanted, because the value is read from the standard input"]
    if _NAME.fullmatch(name) is None:
        return [f"systemd refuses the name {name}: A-Z a-z 0-9 _ are allowed, and no digit in front"]
    return []


def value_problems(name: str, value: str) -> list[str]:
    """Return what is wrong with the value of a variable for one line of a file."""
    found = (
        ("\n" in value or "\r" in value, "the value has more than one line"),
        (_NO_TEXT.search(value), "the value has a character that is not text"),
        (len(f"{name}={value}".encode("utf-8", "replace")) > MAX_BYTES, "no program starts with more than 128 KiB"),
    )
    return [problem for is_found, problem in found if is_found]


def find_problems(content: bytes) -> list[Problem]:
    """Return the misread lines of a file."""
    try:
        return misread(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        number = 1 + content.count(b"\n", 0, error.start)
        return [Problem(number, "a byte that is not UTF-8 text", "the file in UTF-8")]


def misread(text: str) -> list[Problem]:
    """Return the lines that systemd reads otherwise than they look to a person, in their order."""
    found = list(_file_problems(text))
    seen: set[str] = set()
    for line in _scan(text.removeprefix("\ufeff").replace("\r\n", "\n")):
        rule = next((rule for rule in _RULES if rule.applies(line)), None)
        if rule is None and line.has_sign and line.name in seen:
            rule = _REPEATED
        if rule is not None:
            found.append(Problem(line.number, rule.why, rule.spelling.format(name=_shown_name(line))))
        seen.add(line.name)
    return sorted(found, key=lambda problem: problem.line)


def _scan(text: str) -> Iterator[_Line]:
    number, counted = 1, 0
    for found in _LINE.finditer(text):
        number += text.count("\n", counted, found.start())
        counted = found.start()
        if not found["sign"]:
            yield _Line(number, *found.span(), found[0])
            continue
        quoted = tuple(_QUOTED.findall(found["quoted"]))
        plain = _trimmed(found["plain"])
        has_gap = found["sign"][1:2] in (" ", "\t") and bool(quoted or plain)
        yield _Line(number, *found.span(), found["key"], True, quoted, plain, has_gap)


def _trimmed(plain: str) -> str:
    """Return a value without blanks around it. A blank after a backslash stays."""
    plain = plain.lstrip(" \t")
    bare = plain.rstrip(" \t")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return plain[: len(bare) + backslashes % 2]


def _unescaped(found: re.Match[str]) -> str:
    return "" if found[1] in ("\n", "\r") else found[1]


def _unquoted(text: str) -> str:
    inside = text[1:-1] if _is_closed(text) else text[1:]
    return inside if text[0] == "'" else _ESCAPE.sub(_unescaped_in_quotes, inside)


def _unescaped_in_quotes(found: re.Match[str]) -> str:
    if found[1] in ("", "\n"):
        return ""
    return found[1] if found[1] in '"\\`$' else found[0]


def _is_closed(quoted: str) -> bool:
    if quoted[0] == "'":
        return len(quoted) > 1 and quoted[-1] == "'"
    return _ESCAPE.sub("", quoted[1:]).endswith('"')


def _file_problems(text: str) -> Iterator[Problem]:
    """Find what concerns the file: its encoding and its line ends."""
    if text.startswith("\ufeff"):
        yield Problem(1, "the file begins with a byte order mark", "the file without it")
    for sign, why, spelling in (
        (re.compile("\r"), "a line ends as on Windows", "the file with the line ends of Unix"),
        (_NO_TEXT, "a character that is not text", "the line without it"),
    ):
        if found := sign.search(text):
            yield Problem(1 + text.count("\n", 0, found.start()), why, spelling)


def _shown_name(line: _Line) -> str:
    """Return the valid name of a line, or NAME for a text that could be part of a secret."""
    name = _EXPORT.sub("", line.name)
    is_harmless = re.fullmatch(r"[A-Za-z0-9_.-]{1,50}", name) and (line.quoted or line.plain.strip("= \t"))
    if not line.has_sign or not is_harmless:
        return "NAME"
    valid = re.sub(r"[.-]", "_", name)
    return f"_{valid}" if valid[0].isdigit() else valid


@dataclass(frozen=True)
class _Rule:
    """A form that is misread. `spelling` is the right form, without the value."""

    applies: Callable[[_Line], object]
    why: str
    spelling: str = '{name}="..."'


def _is_comment(line: _Line) -> bool:
    return line.key[0] in "#;"


def _swallows(line: _Line) -> bool:
    """Return True if a quote that was left open ends in the text of another line."""
    ends_badly = _is_open(line) or _has_more(line)
    return any(_SWALLOWED.search(part) or (ends_badly and "\n" in part) for part in line.quoted)


def _is_open(line: _Line) -> bool:
    return not all(map(_is_closed, line.quoted))


def _has_more(line: _Line) -> bool:
    return bool(line.quoted) and (len(line.quoted) > 1 or line.plain != "")


def _has_comment(line: _Line) -> object:
    return re.search("^#" if line.quoted else r"^#\s|\s#", line.plain)


def _escaped(line: _Line) -> set[str]:
    """Return the characters after a backslash in double quotes."""
    return set(_ESCAPE.findall(_in_double_quotes(line)))


def _in_double_quotes(line: _Line) -> str:
    return "".join(part for part in line.quoted if part[0] == '"')


def _size(line: _Line) -> int:
    return len(f"{line.name}={line.value}".encode("utf-8", "replace"))


_LITERAL: Final = "{name}='...'"
# The first rule that applies to a line counts.
_RULES: Final = (
    _Rule(
        lambda line: _is_comment(line) and re.search(r"(?<!\\)(?:\\\\)*\\$", line.key),
        "before systemd 254, this comment swallows the next line",
        "it without the last backslash",
    ),
    _Rule(lambda line: not line.has_sign and not _is_comment(line), "a line without `=` is ignored"),
    _Rule(lambda line: _EXPORT.match(line.key), "`export` is not understood"),
    _Rule(lambda line: line.has_sign and not _NAME.fullmatch(line.name), "the name is invalid, so the line is ignored"),
    _Rule(lambda line: line.key != line.name or line.has_gap, "there are blanks around `=`"),
    _Rule(_swallows, "an open quote swallows the next lines"),
    _Rule(_is_open, "a quote is not closed"),
    _Rule(_has_comment, "a comment needs a line of its own"),
    _Rule(_has_more, "text follows the closing quote"),
    _Rule(
        lambda line: re.search(r"\\[\r\n]", line.plain) or "\n" in _escaped(line),
        "a backslash joins this line and the next",
    ),
    _Rule(lambda line: "\\" in line.plain, "a backslash outside of quotes is dropped", _LITERAL),
    _Rule(
        lambda line: _escaped(line) - set('"\\$`'),
        r"`\n` and the like are not replaced",
        f"{_LITERAL}, or a value of several lines in quotes",
    ),
    _Rule(
        lambda line: _REFERENCE.search(line.plain + _ESCAPE.sub("", _in_double_quotes(line))),
        "`$` is not replaced by a variable",
        _LITERAL,
    ),
    _Rule(lambda line: line.plain != line.plain.strip(), "the value has an invisible character at its end"),
    _Rule(lambda line: _size(line) > MAX_BYTES, "no program starts with more than 128 KiB", "a shorter value"),
)
_REPEATED: Final = _Rule(bool, "the name was set before, only this line counts", "one line for {name}")
