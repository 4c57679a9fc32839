"""hookd.toml: every key has a default, an unknown key is an error, and a problem names the expected value."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from hookd.config import Problem, from_validation
from hookd.model.settings import Settings

SECTIONS = ["redis", "receiver", "worker", "history", "tls"]


def problems(table: dict[str, Any]) -> list[str]:
    """Return the problems of a table as text."""
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(table)
    return [str(problem) for problem in from_validation("hookd.toml", raised.value, Settings)]


def test_empty_file_is_valid() -> None:
    settings = Settings.model_validate({})
    assert settings.state == Path("/var/lib/hookd")
    assert settings.receiver.max_body == 26_214_400
    assert settings.history_seconds == 90 * 86_400
    assert settings.worker.git_protocols == ("https", "ssh")


def test_status_pages_are_private() -> None:
    assert not Settings.model_validate({}).receiver.public_status


@pytest.mark.promise(66)
@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_names_its_section(section: str) -> None:
    assert problems({section: {"colour": 1}}) == [
        f"hookd.toml: {section}.colour: unknown key, remove it or check its spelling"
    ]


def test_an_unknown_section_is_named() -> None:
    assert problems({"recevier": {"threads": 4}}) == ["hookd.toml: recevier: unknown key, perhaps receiver is meant"]


def test_problems_are_reported_together() -> None:
    found = problems(
        {
            "state": "var/lib/hookd",
            "redis": 5,
            "receiver": {"threads": "many", "processes": 0, "secrets": "../secrets"},
            "worker": {"git_protocols": ["https", "ext"]},
            "history": {"keep": 0, "days": 9999, "size": 1},
        }
    )
    assert found == [
        "hookd.toml: state: invalid value 'var/lib/hookd', "
        "expected an absolute path without .., such as /var/lib/hookd",
        "hookd.toml: redis: invalid value 5, expected a table",
        "hookd.toml: receiver.processes: invalid value 0, expected 1 or more",
        "hookd.toml: receiver.threads: invalid value 'many', expected a whole number",
        "hookd.toml: receiver.secrets: invalid value '../secrets', "
        "expected an absolute path without .., such as /var/lib/hookd",
        "hookd.toml: worker.git_protocols.1: invalid value 'ext', expected 'https', 'ssh', 'http' or 'file'",
        "hookd.toml: history.keep: invalid value 0, expected 1 or more",
        "hookd.toml: history.days: invalid value 9999, expected 3650 or less",
        "hookd.toml: history.size: unknown key, remove it or check its spelling",
    ]


@pytest.mark.parametrize("path", ["", ".", "state", "./state", "~/state", "/var/../etc", "/a/..", "/a\x00b"])
def test_relative_paths_are_refused(path: str) -> None:
    assert len(problems({"state": path})) == 1


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("receiver", "max_body", 1023),
        ("receiver", "max_body", 104_857_601),
        ("receiver", "processes", 17),
        ("receiver", "threads", 65),
        ("worker", "restore_seconds", 0),
        ("worker", "git_protocols", ["ssh://"]),
        ("history", "keep", 10_001),
        ("history", "days", 0),
    ],
)
def test_value_out_of_bounds(section: str, key: str, value: object) -> None:
    assert len(problems({section: {key: value}})) == 1


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().state = Path("/elsewhere")  # type: ignore[misc]


def test_state_paths() -> None:
    settings = Settings.model_validate({"state": "/state"})
    assert settings.rq_environment == Path("/state/rq.env")
    assert settings.log_path("shop", "shop-1") == Path("/state/logs/shop/shop-1.log")


@pytest.mark.parametrize("model", [Settings, *(Settings.model_fields[name].annotation for name in SECTIONS)])
def test_keys_have_description_and_default(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert not field.is_required(), name
        assert name in SECTIONS or (field.description or "").endswith("."), name


def test_problem_of_a_whole_file() -> None:
    assert str(Problem("hookd.toml", "", "not TOML")) == "hookd.toml: not TOML"


def test_long_value_is_cut() -> None:
    [problem] = problems({"receiver": {"threads": "x" * 1000}})
    assert len(problem) < 250
    assert "x…" in problem
