"""Problems of a configuration file, one line each: file, key, value and the expected value."""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

# The user part and the query of a URL.
_CREDENTIALS: Final = re.compile(r"(://|//|:)[^\s'\"]*(@)|(?<=\?)[^\s'\"]+")


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
    return [Problem(file, _path(item["loc"]), _text(item)) for item in error.errors(include_url=False)]


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _text(item: Any) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "unknown key, remove it or check its spelling"
        case "missing":
            return "missing, but this key is required"
        case "value_error":
            return f"invalid value {_quote_value(item['input'])}, expected {item['ctx']['error']}"
        case "literal_error":
            return f"invalid value {_quote_value(item['input'])}, expected {item['ctx']['expected']}"
        case "string_pattern_mismatch":
            return f"invalid value {_quote_value(item['input'])}, expected text that matches {item['ctx']['pattern']}"
        case _:
            message = item["msg"][0].lower() + item["msg"][1:]
            return f"invalid value {_quote_value(item['input'])}, {message}"


def _quote_value(value: object) -> str:
    if isinstance(value, dict):
        return "this table"
    text = _CREDENTIALS.sub(r"\1***\2", repr(value))
    return text if len(text) <= 80 else f"{text[:77]}…"
