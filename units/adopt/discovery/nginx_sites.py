"""nginx's files with the project's old addresses and paths replaced. Has no side effects.

Single words of a file change. All other text stays as it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.adopt.discovery.listeners import Listener

_TOKEN: Final = re.compile(
    r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|\$\{[^}]*\}|[^\s{};"'\\])+""", re.DOTALL
)
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - Addresses of others.
_ALL_NAMES: Final = {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"}  # noqa: S104
_NAMES: Final = {"127.0.0.1": {"127.0.0.1", "localhost"}, "::1": {"[::1]", "localhost"}}


@dataclass(frozen=True)
class Word:
    """A word of a directive, without quotes, and its place in the file."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class NginxSite:
    """A file of nginx before and after the change. `unsupported` words name an old address and cannot be changed."""

    path: Path
    before: str
    after: str
    domains: tuple[str, ...]
    is_proxy: bool
    unsupported: tuple[str, ...]


def directives(text: str) -> Iterator[list[Word]]:
    """Return the words of each directive, with or without a block."""
    words: list[Word] = []
    for token in _TOKEN.finditer(text):
        if token[0].startswith("#"):
            continue
        if token[0] in "{};":
            if words:
                yield words
            words = []
        else:
            quoted = token[0][0] in "\"'"
            words.append(Word(token[0][1:-1] if quoted else token[0], token.start() + quoted, token.end() - quoted))


def rewrite_site(
    path: Path, text: str, old: Iterable[Listener], new: str, mapped: Callable[[str], str | None]
) -> NginxSite:
    """Replace the addresses of old listeners by `new`, and old paths by the result of `mapped`."""
    addresses = [form for one in old for form in _address_forms(one)]
    edits: list[tuple[Word, str]] = []
    domains: list[str] = []
    unsupported: list[str] = []
    is_proxy = False
    for name, *words in directives(text):
        if name.text == "server_name":
            domains += [word.text for word in words]
        if name.text in ("proxy_pass", "server") and words and (target := _new_address(words[0].text, addresses, new)):
            edits.append((words[0], target))
            is_proxy = True
        elif name.text in ("root", "alias") and words and (target := mapped(words[0].text)):
            edits.append((words[0], target))
        else:
            unsupported += [word.text for word in words if any(_contains_address(word.text, one) for one in addresses)]
    return NginxSite(path, text, _apply_edits(text, edits), tuple(domains), is_proxy, tuple(unsupported))


def _address_forms(old: Listener) -> list[str]:
    if old.path:
        return [f"unix:{old.path}"]
    own = _NAMES.get(old.host, {f"[{old.host}]" if ":" in old.host else old.host})
    hosts = _ALL_NAMES if old.host in _WILDCARDS else own
    return [f"{host}:{old.port}" for host in sorted(hosts)]


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


def _apply_edits(text: str, edits: list[tuple[Word, str]]) -> str:
    for word, target in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        text = f"{text[: word.start]}{target}{text[word.end :]}"
    return text
