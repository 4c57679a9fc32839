"""docs/setup.md shows files that hookd and circus accept."""

import configparser
import re
import tomllib
from pathlib import Path

from hookd.model.app import App
from hookd.model.settings import Settings
from tests.support.processes import PROJECT
from units.demo.environment import DemoEnvironment

TEXT = (PROJECT / "docs" / "setup.md").read_text()


def blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind without their indentation."""
    return [re.sub(r"(?m)^   ", "", text) for text in re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)]


def parsed(text: str) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(text)
    return ini


def test_shown_files_fit_the_schema() -> None:
    settings, app = (tomllib.loads(text) for text in blocks("toml"))
    Settings.model_validate(settings)
    App.model_validate({**app, "name": "shop"})


def test_shown_watchers_equal_the_demo_s() -> None:
    shown = parsed(blocks("ini")[0])
    demo = parsed(DemoEnvironment(Path("/home/me/deploy"), 8000, 8787).circus.ini)
    for section in ("watcher:shop-blue", "watcher:shop-green", "env:shop-blue", "env:shop-green", "socket:shop_blue"):
        assert set(shown[section]) == set(demo[section]), section
    assert set(demo.sections()) <= set(shown.sections())


def test_page_lists_all_health_variables() -> None:
    gate = PROJECT / "units" / "in_app" / "hookd_app" / "gate.py"
    read = set(re.findall(r"HOOKD_[A-Z_]+", gate.read_text()))
    listed = set(re.findall(r"^\| `(HOOKD_[A-Z_]+)`", TEXT, re.MULTILINE))
    assert read == listed
