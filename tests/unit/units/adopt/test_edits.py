"""Edits of an app's file between two runs of its adoption."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from units.adopt.discover import AdoptOptions
from units.adopt.edits import edited_values, merge_values

BEFORE: dict[str, Any] = {
    "branch": "main",
    "service": {"name": "shop-interim", "workers": 2, "listen": "unix:/run/hookd-apps/shop-interim.sock"},
    "health": {"url": "unix:/run/hookd-apps/shop-interim.sock:/healthz", "host": "localhost"},
}
NEW: dict[str, Any] = {**BEFORE, "service": {**BEFORE["service"], "name": "shop", "workers": 4}}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, {}),
        ({"dependencies": {"allow_build": True}}, {"dependencies.allow_build": True}),
        ({"build": {"commands": [["npm", "ci"]]}}, {"build.commands": [["npm", "ci"]]}),
        ({"service": {**BEFORE["service"], "workers": 8, "name": "other"}}, {"service.workers": 8}),
        ({"health": {**BEFORE["health"], "url": "http://127.0.0.1:1/"}}, {}),
    ],
)
def test_edits_are_kept(edit: dict[str, Any], expected: dict[str, Any]) -> None:
    edits = edited_values(BEFORE, {**BEFORE, **edit})
    assert edits == expected
    merged = merge_values(NEW, edits)
    assert merged["service"]["name"] == "shop"
    assert edited_values(NEW, merged) == edits


def test_new_values_of_the_project_count() -> None:
    """The project's own gunicorn has four workers now, and the person has changed something else."""
    merged = merge_values(NEW, edited_values(BEFORE, tomllib.loads('branch = "live"\n')))
    assert (merged["branch"], merged["service"]["workers"]) == ("live", 4)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({"name": "shop"}, "sudo hookd app adopt /srv/shop"),
        (
            {"name": "blog", "health": "/up", "unit": "web.service", "choices": {"a b": "data", ".env": "file"}},
            "sudo hookd app adopt /srv/shop --name=blog --unit=web.service --health=/up '--data=a b' --file=.env",
        ),
        (
            {"name": "shop", "repository": "git@h:a/b.git", "choices": {"x": "left"}, "leave_changes": True},
            "sudo hookd app adopt /srv/shop --repo=git@h:a/b.git --leave=x --leave-changes",
        ),
    ],
)
def test_same_command_has_all_options(options: dict[str, Any], command: str) -> None:
    assert AdoptOptions(root=Path("/srv/shop"), **options).command == command
