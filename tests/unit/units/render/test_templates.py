"""No value of the catalogue can add a line or a directive to a file of the host: it stays in place, or is refused."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hookd.model.app import App
from tests.support.rendered import ADOPTED, BLOG, HOST, NEW_HOST, SHOP, files
from units.render import templates
from units.system.errors import Refused

# What means something to systemd, nginx, sudo, logrotate or SELinux, and what ends a line.
SIGNS = list(" \t\n\r\x0b\x0c\x00\x1b\\\"'%$;#{}[]()<>*?~!,:=@|&^`+-./aZ09ß\u2028\U0001f600")
BAD_ENDS = (
    "\nUser=root",
    "\n[Service]",
    "%n",
    "%%",
    "$HOME",
    "${X}",
    '" x="y',
    "\\",
    ";",
    "; deny all",
    "{",
    "}",
    "*",
    " ",
)
texts = st.one_of(
    st.text(st.sampled_from(SIGNS), max_size=12),
    st.sampled_from(BAD_ENDS),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
)
# Where the text is put in; each keeps the shape of the files: as many lines and directives as before.
FIELDS: dict[str, Any] = {
    "name": lambda text: {"name": text},
    "root": lambda text: {"root": f"/srv/{text}"},
    "service.name": lambda text: {"service": {"name": text}},
    "service.entry": lambda text: {"service": {"entry": text}},
    "service.listen": lambda text: {"service": {"listen": f"unix:/run/{text}"}},
    "service.environment_file": lambda text: {"service": {"environment_file": f"/etc/{text}"}},
    "shared.data": lambda text: {"shared": {"data": f"/var/{text}"}},
    "shared.root": lambda text: {"shared": {"root": f"/var/{text}"}},
    "shared.directories": lambda text: {"shared": {"directories": [f"{text}/logs", "uploads"]}},
    "ownership.user": lambda text: {"ownership": {"user": text}},
    "ownership.group": lambda text: {"ownership": {"group": text}},
    "health.page": lambda text: {"health": {"page": text}},
    "health.socket": lambda text: {"health": {"socket": text}},
    "health.host": lambda text: {"health": {"host": text}},
    "site.domain": lambda text: {"site": {"domain": text}},
}


def changed(app: App, change: dict[str, Any]) -> App:
    """Apply a change to an app, or raise ValidationError."""
    table = app.model_dump()
    health = change.pop("health", {})
    prefix, _, page = app.health.url.rpartition(":")
    if "socket" in health:
        prefix = f"unix:/run/{health['socket']}-{{colour}}.sock" if app is SHOP else f"unix:/run/{health['socket']}"
    url = f"{prefix}:/{health.get('page', page.lstrip('/'))}" if app is not ADOPTED else app.health.url
    table["health"] |= {"url": url} | {key: value for key, value in health.items() if key == "host"}
    if app is ADOPTED and "listen" in change.get("service", {}):
        change = {}  # It listens on TCP, and a unix socket has lines of its own.
    for key, value in change.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) else value
    return App.model_validate(table)


def skeleton(text: str) -> list[str]:
    """Return the directives of each line without values, with several `ReadWritePaths` in a row as one."""
    found = [directive(line) for line in re.split(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)]
    return [one for before, one in pairwise(["", *found]) if not (one == before == "ReadWritePaths")]


@cache
def directive(line: str) -> str:
    bare = line.strip()
    if bare.startswith("#"):
        return "#"
    # A rule of sudoers, a path of logrotate, a directive of nginx, a key of a unit; and the signs that end or nest.
    word = re.split(r"[ =]", bare.split("/", 1)[0])[0] if not bare.startswith("[") else bare
    return word + "".join(re.findall(r"[{};\"]", re.sub(r"\\.|^Environment=.*$", "", bare)))


def shapes(app: App) -> Iterator[list[str]]:
    for host in (HOST, NEW_HOST):
        for path, file in files(host, app).items():
            yield skeleton(file.text)
            if path.is_relative_to("/etc/systemd"):
                assert not list(expanded(file.text)), path


def expanded(unit: str) -> Iterator[str]:
    """Return the lines in which systemd would expand a value other than the worker's instance.

    A share such as 75% at the end of a line stays as it is.
    """
    for line in unit.splitlines():
        if not line.startswith("#") and "%" in re.sub(r"%%|%i|(?<=[=0-9][0-9])%$", "", line):
            yield line


# Every key is set, as in a changed app.
SHAPES = {app.name: sorted(shapes(changed(app, {}))) for app in (SHOP, BLOG, ADOPTED)}


@pytest.mark.threat(68)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("app", [SHOP, BLOG, ADOPTED], ids=lambda app: app.name)
@settings(max_examples=40)
@given(text=texts)
@example(text="x\nUser=root")
@example(text="a-b")
@example(text="%n")
@example(text="wsgi:create()")
@example(text="a; return 200;")
def test_values_add_no_lines(app: App, field: str, text: str) -> None:
    try:
        other = changed(app, FIELDS[field](text))
        found = sorted(shapes(other))
    except (ValidationError, Refused):
        return
    assert found == SHAPES[app.name]


def test_an_added_line_is_found() -> None:
    text = files(HOST, BLOG)[Path("/etc/systemd/system/blog.service")].text
    for bad in ("User=www-data\nUser=root", "User=www-data\n[Service]"):
        assert skeleton(text.replace("User=www-data", bad, 1)) != skeleton(text)
    site = files(HOST, BLOG)[Path("/etc/nginx/sites-available/hookd-blog")].text
    assert skeleton(site.replace("blog.example.org;", "blog.example.org; deny all;")) != skeleton(site)


@given(text=st.text())
def test_valid_paths_have_harmless_signs(text: str) -> None:
    try:
        path = templates.plain_path(text)
    except Refused:
        return
    assert path == text
    assert re.fullmatch(r"/[A-Za-z0-9._/@+~%-]*", path)


@pytest.mark.threat(68)
@given(text=st.text())
def test_quoted_values_are_one_word(text: str) -> None:
    try:
        quoted = templates.quoted(text)
    except Refused:
        assert not re.fullmatch(r"[ -~]*", text)
        return
    assert quoted[0] == quoted[-1] == '"'
    inner = quoted[1:-1]
    assert re.fullmatch(r'(?:[^"\\%]|\\["\\]|%%)*', inner)
    assert re.sub(r'\\(["\\])', r"\1", inner.replace("%%", "%")) == text


def test_per_cent_signs_survive() -> None:
    assert templates.unit_path("/srv/100%n") == "/srv/100%%n"
    assert templates.plain_path("/srv/100%n") == "/srv/100%n"


@pytest.mark.parametrize("path", ["/srv/my shop", "/srv/a\nb", '/srv/"', "/srv/$HOME", "/srv/*", "relative", "", "/ü"])
def test_unsafe_path_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="is unsafe in a file of the host") as found:
        templates.plain_path(path)
    assert repr(path) in str(found.value)


def test_selinux_pattern_matches_one_path() -> None:
    assert re.fullmatch(templates.pattern("/srv/a.b+c"), "/srv/a.b+c")
    assert not re.fullmatch(templates.pattern("/srv/a.b+c"), "/srv/axbbc")
