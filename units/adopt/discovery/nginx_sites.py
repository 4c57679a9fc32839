"""nginx's files with the project's old addresses and paths replaced. Has no side effects.

Single words of a file change. All other text stays as it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.system.nginx_config import TOKEN

# nginx reaches a service of this host by any of them.
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]")  # noqa: S104 - Addresses of others.


@dataclass(frozen=True)
class NginxSite:
    """A file of nginx before and after the change. `unsupported` words name an old address and cannot be changed."""

    path: Path
    before: str
    after: str
    domains: tuple[str, ...]
    is_proxy: bool
    unsupported: tuple[str, ...]


def rewrite_site(path: Path, text: str, old: Iterable[str], new: str, mapped: Callable[[str], str | None]) -> NginxSite:
    """Replace the old addresses by `new`, and old paths by the result of `mapped`."""
    addresses = [form for one in old for form in _address_forms(one)]
    edits: list[tuple[int, int, str]] = []
    domains: list[str] = []
    unsupported: list[str] = []
    is_proxy = False
    for (_, name), *words in _directives(text):
        target = None
        if name == "server_name":
            domains += [word for _, word in words]
        elif words and name in ("proxy_pass", "server"):
            target = _new_address(words[0][1], addresses, new)
            is_proxy = is_proxy or target is not None
        elif words and name in ("root", "alias"):
            target = mapped(words[0][1])
        if target is None:
            unsupported += [word for _, word in words if any(_contains_address(word, one) for one in addresses)]
        else:
            edits.append((*words[0][0], target))
    after = text
    for start, end, target in reversed(edits):
        after = f"{after[:start]}{target}{after[end:]}"
    return NginxSite(path, text, after, tuple(domains), is_proxy, tuple(unsupported))


def _directives(text: str) -> Iterator[list[tuple[tuple[int, int], str]]]:
    """Return the words of each directive, with or without a block: their places in the file, and their texts."""
    words: list[tuple[tuple[int, int], str]] = []
    for token in TOKEN.finditer(text):
        if token[3]:
            if words:
                yield words
            words = []
        elif token.lastindex:
            words.append((token.span(token.lastindex), token[token.lastindex]))


def _address_forms(old: str) -> list[str]:
    if old.startswith("unix:"):
        return [old]
    host, _, port = old.rpartition(":")
    return [f"{name}:{port}" for name in (_LOCAL if host in _LOCAL else (host,))]


def _new_address(target: str, addresses: Iterable[str], new: str) -> str | None:
    """Return a target of `proxy_pass` or `server` with its old address replaced, or None for other targets."""
    scheme, rest = ("http://", target[7:]) if target.startswith("http://") else ("", target)
    old = next((one for one in addresses if rest == one or rest.startswith((f"{one}/", f"{one}:/"))), None)
    if old is None:
        return None
    uri = rest[len(old) :].removeprefix(":")
    between = ":" if uri and new.startswith("unix:") else ""
    return f"{scheme}{new}{between}{uri}"


def _contains_address(word: str, address: str) -> bool:
    return re.search(rf"(?<![\w.\-]){re.escape(address)}(?![\w.\-])", word) is not None
