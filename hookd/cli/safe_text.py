"""Makes text harmless for a terminal: what others than the person in front of it wrote may hold codes that steer it."""

import re
from typing import Final

from rich.markup import escape

# Surrogates stand for file names that are no UTF-8, and cannot be printed at all.
_STEERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def sanitize(text: str, keep: str = "\n\t") -> str:
    """Write out what could steer a terminal or hide text in it; ends of lines and tabs stay."""
    return _STEERS.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def sanitize_markup(text: str) -> str:
    """The same for text in one line, that may also mean something in rich's markup."""
    return escape(sanitize(text, keep=""))
