"""Parses the output of `nginx -T`: server names, proxy targets and body limits."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Final

# A comment, or a word or an end of a directive in one of four groups. The end is group 3.
TOKEN: Final = re.compile(
    r"""#[^\n]*|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([{};])|((?:\\.|\$\{[^}]*\}|[^\s{};"'\\])+)""", re.DOTALL
)
_FILE: Final = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_SIZE: Final = re.compile(r"(\d+)([kmg]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
# nginx rejects a circle of includes.
_DEEPEST: Final = 10
# nginx's default: https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size
DEFAULT_BODY: Final = 1024**2


@dataclass
class Block:
    """A directive with its words and the directives between its braces."""

    words: tuple[str, ...] = ()
    directives: list["Block"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[0] if self.words else ""

    def first(self, name: str) -> tuple[str, ...] | None:
        """Return the words after a directive's name, or None without such a directive."""
        return next((one.words[1:] for one in self.named(name)), None)

    def named(self, name: str) -> Iterator["Block"]:
        return (one for one in self.directives if one.name == name)


@dataclass(frozen=True)
class ProxyTarget:
    """A proxied location: its domains, its target, and its max_body body in bytes (0 is no limit)."""

    domains: tuple[str, ...]
    target: str
    max_body: int


def config_files(text: str) -> list[Path]:
    """Return the configuration files in the output."""
    return [Path(name) for name in dict.fromkeys(_FILE.findall(text))]


def parse(text: str, without: str | None = None) -> Block:
    """Parse the output into blocks, without the file `without`."""
    _, *parts = _FILE.split(text) if _FILE.search(text) else ("", "nginx.conf", text)
    files = {PurePath(name): _blocks(content) for name, content in zip(parts[::2], parts[1::2], strict=True)}
    main, root = next(iter(files.items()))
    files = {path: block for path, block in files.items() if path.name != without}
    return Block((), list(_included(root, main.parent, files, _DEEPEST)))


def _included(block: Block, directory: PurePath, files: Mapping[PurePath, Block], depth: int) -> Iterator[Block]:
    """Return the directives of a block, with each `include` replaced by its files."""
    for one in block.directives:
        if one.name == "include" and one.words[1:] and depth:
            # A relative name is relative to the main file, in every file.
            pattern = str(directory / one.words[1])
            for name in sorted(name for name in files if fnmatch(str(name), pattern)):
                yield from _included(files[name], directory, files, depth - 1)
        else:
            yield Block(one.words, list(_included(one, directory, files, depth)))


def _blocks(text: str) -> Block:
    root = Block()
    stack, words = [root], []
    for token in TOKEN.finditer(text):
        if token[0].startswith("#"):
            continue
        if token[3] is None:
            words.append(next((part for part in token.groups() if part is not None), ""))
            continue
        if token[3] == "}":
            stack = stack[:-1] or [root]
        elif words:
            block = Block(tuple(words))
            stack[-1].directives.append(block)
            stack += [block] if token[3] == "{" else []
        words = []
    return root


def server_names(root: Block) -> set[str]:
    """Return the names of all sites."""
    servers = (server for http in root.named("http") for server in http.named("server"))
    return {name for server in servers for names in server.named("server_name") for name in names.words[1:]}


def proxy_targets(root: Block) -> Iterator[ProxyTarget]:
    """Return all proxied locations with their limits. The innermost limit counts."""
    for http in root.named("http"):
        upstreams = {one.words[1]: _server(one) for one in http.named("upstream") if one.words[1:]}
        for server in http.named("server"):
            yield from _walk(
                server, server.first("server_name") or (), _limit(server, _limit(http, DEFAULT_BODY)), upstreams
            )


def _walk(block: Block, domains: tuple[str, ...], max_body: int, upstreams: dict[str, str]) -> Iterator[ProxyTarget]:
    target = block.first("proxy_pass")
    if target:
        yield ProxyTarget(domains, _resolved(target[0], upstreams), max_body)
    for inner in block.directives:
        if inner.name in ("location", "if", "limit_except"):
            yield from _walk(inner, domains, _limit(inner, max_body), upstreams)


def _resolved(target: str, upstreams: dict[str, str]) -> str:
    """Return the first server of the named upstream, or the target itself."""
    name = re.sub(r"^https?://", "", target).split("/")[0]
    return upstreams.get(name, target)


def _server(upstream: Block) -> str:
    return (upstream.first("server") or ("",))[0]


def _limit(block: Block, inherited: int) -> int:
    words = block.first("client_max_body_size")
    found = _SIZE.fullmatch(words[0]) if words else None
    return int(found[1]) * _UNITS[found[2].lower()] if found else inherited
