"""Finds the line in a failed program's output that names its error, which is seldom the last one."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from hookd.model.text import truncate

MAX_CHARACTERS: Final = 180
# Colours and cursor movements of build tools.
ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]")
_TRACEBACK: Final = "Traceback (most recent call last):"
# The border that Python draws around the exceptions of a group. A compiler draws one before its carets, too.
_GROUP: Final = re.compile(r"^ *(?:\| ?(?!\s*[~^]+$)|\+-\+?-+.*$)")
# The module before the name of an exception.
_MODULE: Final = re.compile(r"^(?:\w+\.)+(?=[A-Z]\w*(?::|$))")
# Lines that name an error wherever they stand. The group `text` is what is shown of them.
_ERRORS: Final = tuple(
    map(
        re.compile,
        (
            r"(?P<text>(?:\w+\.)*\w*(?:Error|Exception)(?:: .*)?)",
            r"(?P<text>Error: .*|FAILED: .*|Unknown command: .*|fatal: .*)",
            r"ERROR \[[\w.]+\] (?:Error: )?(?P<text>.*)",  # alembic and Flask-Migrate, between their INFO.
            r"(?P<text>\S+: fatal error: .*)",
            r"\S*ld: (?P<text>cannot find .*)",  # The linker's caller says only its status.
            r"error: (?P<text>(?!Command '\[|command ').*)",  # A compiler's caller repeats its command.
            r"(?:\S*sh: (?:line )?\d+: )(?P<text>.*(?:not found|Permission denied))",
            r"\s*\[?(?P<text>ERR_PNPM_\w+\]?\s+.*)",
            r"error (?P<text>(?!Command failed).+)",  # yarn
            r"➤ (?P<text>YN(?!0000)\d{4}: .*)",
            # gunicorn's log, without its accounts of an error.
            r"\[[^\]]+\] \[\d+\] \[ERROR\] (?P<text>(?!Exception in worker|Worker \(|Can't connect|Retrying).*)",
            r"(?P<text>make: \*\*\* .*)",
        ),
    )
)
_NOISE: Final = re.compile(
    r"\s|\(Background on this error|\[(?:SQL|parameters): |hint: |npm |Type '|Try '|Usage: |Node\.js v|For further"
    r"|info |warning |compilation terminated|\$ |\W+$"
)
_NPM: Final = re.compile(r"npm (?:error|ERR!) ?(.*)")
_NPM_NOISE: Final = re.compile(
    r"code |errno |syscall |path |command |A complete log|Lifecycle script|workspace |location "
)
# npm repeats the kind of its error before each sentence.
_NPM_KIND: Final = re.compile(r"(?:404|notarget|engine|notsup|network|JSON\.parse) ")
_UV_CAUSE: Final = re.compile(r"\s*(?:cause: |Caused by: |[├╰]─▶ )(.*)")
_UV_ERROR: Final = re.compile(r"(?:error: |\s*× )(.*)")
# The hints of uv that say more than its causes.
_UV_HINT: Final = re.compile(
    r"\s*hint: (?:An index URL \((?P<url>\S+)\) .*\((?P<status>40[13] \w+)\)"
    r"|(?P<text>`\S+` was found on \S+, but not at the requested version \([^)]*\)"
    r"|You require .*but we only found wheels.*"
    r"|Wheels are required for `\S+` because building from source is disabled))"
)


def error_line(lines: Sequence[str]) -> str:
    """Return the line that names the error of a program, without the module of an exception, or "" without output."""
    plain = plain_lines(lines)
    found = _uv_error(plain) or _npm_error(plain) or _nearest_error(plain) or _nearest_error([*map(str.strip, plain)])
    found = found or "".join(plain[-1:])
    return truncate(_MODULE.sub("", " ".join(found.split())), MAX_CHARACTERS)


def plain_lines(lines: Sequence[str]) -> list[str]:
    """Return lines without colours and without the border around a group of exceptions."""
    plain = (_GROUP.sub("", ANSI.sub("", line)).rstrip() for line in lines)
    return [line for line in plain if line]


def exceptions(lines: Sequence[str]) -> Iterator[int]:
    """Yield the places of the exceptions' own lines, which follow the frames of a traceback."""
    margin: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() == _TRACEBACK:
            margin = indent
        elif margin is not None and indent <= margin:
            yield number
            margin = None


def _nearest_error(lines: Sequence[str]) -> str:
    """Return the exception or error that is nearest to the end, or else the last line that says something."""
    raised = frozenset(exceptions(lines))
    for number in reversed(range(len(lines))):
        if number in raised:
            return lines[number]
        if match := next(filter(None, (pattern.fullmatch(lines[number]) for pattern in _ERRORS)), None):
            return match["text"]
    return next((line for line in reversed(lines) if not _NOISE.match(line)), "")


def _npm_error(lines: Sequence[str]) -> str:
    """Return npm's code and its first sentence. The failure of a script has its error above npm's."""
    found = [match[1].strip() for line in lines if (match := _NPM.fullmatch(line))]
    code = next((text.removeprefix("code ") for text in found if text.startswith("code ")), "")
    if not found or code == "ELIFECYCLE" or code.isdecimal():
        return ""
    text = next((text for text in found if text and not _NPM_NOISE.match(text)), "")
    return f"npm {code}: {_NPM_KIND.sub('', text)}" if code else text


def _uv_error(lines: Sequence[str]) -> str:
    """Return uv's error with its cause, that of a package's build, or the hint that explains it."""
    start = next((number for number, line in enumerate(lines) if _is_uv_error(lines, number)), None)
    if start is None:
        return ""
    for line in lines[start:]:
        if hint := _UV_HINT.match(line):
            return hint["text"] or f"{hint['url']} answered {hint['status']}"
    error = _UV_ERROR.sub(r"\1", lines[start])
    causes = list(_uv_causes(lines[start + 1 :]))
    if "build backend" in error or any("build backend" in cause for cause in causes):
        return f"{error}: {_nearest_error(_dedented(lines[start + 1 :])) or causes[-1]}"
    if error.startswith("No solution found"):
        return re.sub(r"^Because |, we can conclude that your requirements are unsatisfiable\.?$", "", causes[0])
    return ": ".join(dict.fromkeys([error, causes[0], causes[-1]]))


def _is_uv_error(lines: Sequence[str], number: int) -> bool:
    """Return True for an error that has a cause below it, because other programs print errors, too."""
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return bool(_UV_ERROR.match(lines[number]) and _UV_CAUSE.match(following))


def _uv_causes(lines: Sequence[str]) -> Iterator[str]:
    """Yield each cause with the lines that continue it."""
    parts: list[str] = []
    for line in lines:
        match = _UV_CAUSE.match(line)
        if (match or not line.startswith(" ")) and parts:
            yield " ".join(parts)
            parts = []
        if match:
            parts = [match[1]]
        elif parts:
            parts.append(line.strip())
    if parts:
        yield " ".join(parts)


def _dedented(lines: Sequence[str]) -> list[str]:
    """Return the output of a package's build, which uv indents below its causes."""
    inside = [line for line in lines if line.startswith(" ") and not _UV_CAUSE.match(line)]
    margin = min((len(line) - len(line.lstrip()) for line in inside), default=0)
    return [line[margin:] for line in inside]
