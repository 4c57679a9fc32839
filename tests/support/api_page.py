"""docs/api.md as data: the routes with their answers, and the fields of each object."""

import re
from dataclasses import dataclass

from tests.support.processes import PROJECT

TEXT = (PROJECT / "docs" / "api.md").read_text()


@dataclass(frozen=True)
class Route:
    """A documented route. `answers` maps a status to the possible objects of its body."""

    access: str
    answers: dict[int, tuple[str, ...]]


def routes() -> dict[tuple[str, str], Route]:
    rows = re.findall(r"^\| `(GET|POST) (\S+)` \| (\w+) \| (.+) \|$", TEXT, re.MULTILINE)
    return {(method, path): Route(access, _answers(text)) for method, path, access, text in rows}


def _answers(text: str) -> dict[int, tuple[str, ...]]:
    """Parse `202 Accepted, 200 Accepted or Ignored, 400`. An error needs no object."""
    found = re.findall(r"(\d{3})((?: [A-Z]\w+(?: or [A-Z]\w+)*)?)", text)
    good = {int(status): tuple(filter(None, objects.strip().split(" or "))) for status, objects in found}
    return {status: ("Error",) if status >= 400 else objects for status, objects in good.items()}


def fields() -> dict[str, set[str]]:
    """Return each object's fields, without the values in brackets."""
    rows = re.findall(r"^\| ([A-Z]\w+) \| (`.+) \|$", TEXT, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))) for name, text in rows}


def sender_headers() -> dict[str, tuple[str, str, str]]:
    """Return each sender's headers: event, delivery and signature."""
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| `([\w-]+)` \| `([\w-]+)", TEXT, re.MULTILINE)
    return {name: (event, delivery, signature) for name, event, delivery, signature in rows}
