"""Every line of every file that hookd puts on a host is explained: a comment stands above it or above its group."""

from collections.abc import Iterator

import pytest

from tests.support.rendered import APPS, HOSTS, files
from units.plan.steps import File
from units.render.templates import render

RENDERED = [
    pytest.param(file, id=f"{name}:{path}") for name, host in HOSTS.items() for path, file in files(host, *APPS).items()
]


def unexplained(text: str) -> Iterator[str]:
    """A blank line, a section and a bracket end what a comment explains."""
    explained = False
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("#"):
            explained = True
        elif not line or line == "}" or (line.startswith("[") and line.endswith("]")):
            explained = False
        else:
            if not explained:
                yield line
            explained = explained and not line.endswith("{")


@pytest.mark.parametrize("file", RENDERED)
def test_every_line_is_explained(file: File) -> None:
    assert not list(unexplained(file.text))


@pytest.mark.parametrize("file", RENDERED)
def test_every_file_says_at_its_top_what_it_is_and_ends_its_last_line(file: File) -> None:
    assert file.text.startswith("# ")
    assert file.text.endswith("\n")
    assert not file.text.endswith("\n\n")
    assert "\n\n\n" not in file.text


@pytest.mark.parametrize("file", RENDERED)
def test_nobody_needs_a_wide_window_to_read_why(file: File) -> None:
    assert not [line for line in file.text.splitlines() if line.startswith("#") and len(line) > 130]


def test_a_line_without_an_explanation_is_found() -> None:
    assert list(unexplained("# About it.\n[Unit]\nA=b\n")) == ["A=b"]
    assert list(unexplained("# It.\nserver {\n    listen 80;\n}\n")) == ["listen 80;"]
    assert not list(unexplained("[Unit]\n# Both.\nA=b\nC=d\n"))


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("systemd/hookd-redis.service")
