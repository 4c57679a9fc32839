"""A visitor of one site on a booted server, with cookies: reads pages and submits forms, as a browser would."""

import html
import re
from collections.abc import Mapping
from typing import Final

from tests.support.server.machine import Machine

_INPUT: Final = re.compile(r"<input\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"""\b(type|name|value)=(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)


class Visitor:
    """One person at one site."""

    def __init__(self, machine: Machine, domain: str) -> None:
        self._machine = machine
        self._domain = domain
        self._cookies = f"/root/{domain}.cookies"

    def read(self, path: str, fields: Mapping[str, str] | None = None) -> str:
        """Return a page, or the one that a submitted form leads to."""
        data = [word for name, value in (fields or {}).items() for word in ("--data-urlencode", f"{name}={value}")]
        url = f"http://{self._domain}{path}"
        options = ("--silent", "--location", "--max-time", "60", "--resolve", f"{self._domain}:80:127.0.0.1")
        sent = ("--cookie", self._cookies, "--cookie-jar", self._cookies, "--referer", url, *data)
        return self._machine.run("curl", *options, *sent, "--", url, check=False).stdout

    def submit(self, page: str, path: str, fields: Mapping[str, str]) -> str:
        """Open a page and submit its form to a path: its hidden fields, and those that a person fills in."""
        return self.read(path, {**hidden_fields(self.read(page)), **fields})


def hidden_fields(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's forms, such as the token against forged requests."""
    found = {}
    for tag in _INPUT.findall(page):
        given = {name.lower(): "".join(values) for name, *values in _ATTRIBUTE.findall(tag)}
        if given.get("type", "").lower() == "hidden" and "name" in given:
            found[given["name"]] = html.unescape(given.get("value", ""))
    return found
