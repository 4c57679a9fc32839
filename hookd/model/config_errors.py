"""Problems of a configuration file, one line each: file, key, value and the expected value."""

import re
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

# The user part and the query of a URL.
_CREDENTIALS: Final = re.compile(r"(://|//|:)[^\s'\"]*(@)|(?<=\?)[^\s'\"]+")
# By pydantic's kind of error.
_TEXTS: Final = {
    "extra_forbidden": "unknown key, remove it or check its spelling",
    "missing": "missing, but this key is required",
    "value_error": "invalid value {value}, expected {error}",
    **dict.fromkeys(("literal_error", "enum"), "invalid value {value}, expected {expected}"),
    "string_pattern_mismatch": "invalid value {value}, expected text that matches {pattern}",
}


@dataclass(frozen=True)
class Problem:
    """One problem in a file. `path` is the key."""

    file: str
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.path}" if self.path else self.file
        return f"{place}: {self.text}"


def from_validation(file: str, error: ValidationError) -> list[Problem]:
    """Return the problems of a validation error."""
    return [Problem(file, ".".join(map(str, item["loc"])), _text(item)) for item in error.errors(include_url=False)]


def _text(item: ErrorDetails) -> str:
    text = _TEXTS.get(item["type"], "invalid value {value}, {message}")
    message = item["msg"][0].lower() + item["msg"][1:]
    return text.format_map({**item.get("ctx", {}), "value": _quote_value(item["input"]), "message": message})


def _quote_value(value: object) -> str:
    if isinstance(value, dict):
        return "this table"
    text = _CREDENTIALS.sub(r"\1***\2", repr(value))
    return text if len(text) <= 80 else f"{text[:77]}…"
