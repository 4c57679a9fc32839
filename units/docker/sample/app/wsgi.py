"""The sample app: a page with a greeting, the release, and the number of visitors in all releases."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

GREETING = "Hello from the first commit"
PAGE = """<!doctype html><title>shop</title>
<h1>{greeting}</h1>
<p>Release {release}. Visitors so far: {visitors}.</p>
"""


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the health page, and every other request with the page."""
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    if environ["PATH_INFO"] == "/healthz":
        return [b"well\n"]
    return [PAGE.format(greeting=GREETING, release=Path.cwd().name, visitors=_count()).encode()]


def _count() -> int:
    """Add one byte per visitor, in a directory that outlives releases."""
    with Path("visits/all").open("ab") as file:
        file.write(b".")
        return file.tell()
