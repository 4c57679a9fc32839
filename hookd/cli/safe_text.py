"""Text of others, made safe for a terminal."""

from rich.markup import escape

from hookd.model.text import printable


def sanitize(text: str, keep: str = "\n\t") -> str:
    """Escape the characters that a terminal could act on, except line ends and tabs."""
    return printable(text, keep=keep)


def sanitize_markup(text: str) -> str:
    """Return a text as one line without meaning in rich's markup."""
    return escape(printable(text))
