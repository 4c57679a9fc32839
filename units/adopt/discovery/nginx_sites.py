"""nginx in front of a project: which lines lead to the old process or the old files, and the same lines led to the new.

Pure: texts in, texts out. A file is changed at the places of single words, and stays as it is everywhere else.
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
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - What others listen on.
_ALL_NAMES: Final = {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"}  # noqa: S104
_NAMES: Final = {"127.0.0.1": {"127.0.0.1", "localhost"}, "::1": {"[::1]", "localhost"}}


@dataclass(frozen=True)
class Word:
    """A word of a directive, without quotes, and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class NginxSite:
    """One file of nginx's: what it says now and is to say; `domains` it answers to; `unknown` words lead there, too."""

    path: Path
    before: str
    after: str
    domains: tuple[str, ...]
    passes: bool
    unknown: tuple[str, ...]


def directives(text: str) -> Iterator[list[Word]]:
    """Every directive of a file as its words, whether a block follows or not."""
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
    path: Path, text: str, olds: Iterable[Listener], new: str, moved: Callable[[str], str | None]
) -> NginxSite:
    """Lead what goes to one of the old listeners to `new`; `moved` says where a path of the old files is now."""
    places = [place for old in olds for place in _address_forms(old)]
    edits: list[tuple[Word, str]] = []
    domains: list[str] = []
    unknown: list[str] = []
    passes = False
    for name, *words in directives(text):
        if name.text == "server_name":
            domains += [word.text for word in words]
        if name.text in ("proxy_pass", "server") and words and (target := _new_address(words[0].text, places, new)):
            edits.append((words[0], target))
            passes = True
        elif name.text in ("root", "alias") and words and (target := moved(words[0].text)):
            edits.append((words[0], target))
        else:
            unknown += [word.text for word in words if any(_contains_address(word.text, place) for place in places)]
    return NginxSite(path, text, _apply_edits(text, edits), tuple(domains), passes, tuple(unknown))


def _address_forms(old: Listener) -> list[str]:
    if old.path:
        return [f"unix:{old.path}"]
    own = _NAMES.get(old.host, {f"[{old.host}]" if ":" in old.host else old.host})
    hosts = _ALL_NAMES if old.host in _WILDCARDS else own
    return [f"{host}:{old.port}" for host in sorted(hosts)]


def _new_address(target: str, places: Iterable[str], new: str) -> str | None:
    """A target of `proxy_pass`, or of `server` in an upstream, led to the new place; None when it leads elsewhere."""
    scheme, rest = ("http://", target[7:]) if target.startswith("http://") else ("", target)
    place = next((place for place in places if rest == place or rest.startswith((f"{place}/", f"{place}:/"))), None)
    if place is None:
        return None
    uri = rest[len(place) :].removeprefix(":")
    between = ":" if uri and new.startswith("unix:") else ""
    return f"{scheme}{new}{between}{uri}"


def _contains_address(word: str, place: str) -> bool:
    return re.search(rf"(?<![\w.\-]){re.escape(place)}(?![\w.\-])", word) is not None


def _apply_edits(text: str, edits: list[tuple[Word, str]]) -> str:
    for word, target in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        text = f"{text[: word.start]}{target}{text[word.end :]}"
    return text
