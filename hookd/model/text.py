"""Text for people: durations, and text of unknown origin made safe for a terminal, a log line and a record."""

from __future__ import annotations

# Root's part of a build starts in half of the time without the modules of types.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

# Not printable for Python, but harmless and common in French text.
_NO_BREAK_SPACES = "\u00a0\u202f"


def printable(text: str, *, keep: str = "") -> str:
    """Escape every character that a terminal or a log could act on, except those in `keep`.

    Unprintable characters are control and format characters, line separators and surrogates. A surrogate stands for
    a byte of a file name that is not UTF-8.
    """
    if text.isprintable():
        return text
    kept = keep + _NO_BREAK_SPACES
    return "".join(sign if sign.isprintable() or sign in kept else ascii(sign)[1:-1] for sign in text)


def without_surrogates(text: str) -> str:
    """Return text that can be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def truncate(text: str, length: int) -> str:
    """Return at most `length` characters, with an ellipsis at the end of a cut text, and without surrogates."""
    whole = without_surrogates(text)
    return whole if len(whole) <= length else f"{whole[: length - 1]}…"


def format_duration(time: timedelta) -> str:
    """Return a duration in one unit, such as `5 s`, `90 min`, `3 h` or `2 d`."""
    seconds = max(0, int(time.total_seconds()))
    minutes = seconds // 60
    if seconds < 120:
        return f"{seconds} s"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
