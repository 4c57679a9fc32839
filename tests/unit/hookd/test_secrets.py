"""Webhook secrets: one or two per app, never short, never shown, with all problems reported at once."""

from pathlib import Path

import pytest

from hookd.config import ConfigError, Problem
from hookd.credentials import Secret, read_all_secrets, read_secrets
from hookd.model.app import App
from hookd.model.catalogue import Catalogue

LONG = b"0123456789abcdef"


def catalogue(*names: str) -> Catalogue:
    """Make a catalogue of apps that differ only in their names."""
    return Catalogue(
        apps=tuple(
            App.model_validate(
                {
                    "name": name,
                    "repository": "https://git.example.org/acme/shop.git",
                    "full_name": "acme/shop",
                    "root": f"/srv/{name}",
                    "health": {"url": "http://127.0.0.1:8000/healthz"},
                }
            )
            for name in names
        )
    )


def read(directory: Path, content: bytes) -> tuple[list[bytes], list[Problem]]:
    """Read a file of secrets and return them with their problems."""
    (directory / "shop").write_bytes(content)
    problems: list[Problem] = []
    return [secret.reveal() for secret in read_secrets(directory / "shop", problems)], problems


@pytest.mark.parametrize(
    ("content", "secrets"),
    [
        (LONG, [LONG]),
        (LONG + b"\n", [LONG]),
        (LONG + b"\r\n", [LONG]),
        (b"\n" + LONG + b"\n\n", [LONG]),
        (LONG + b"\nanother secret of the app\n", [LONG, b"another secret of the app"]),
        ("ein Geheimnis, größer".encode(), ["ein Geheimnis, größer".encode()]),
        (b"\xff" * 16, [b"\xff" * 16]),
        (b" " + LONG + b" ", [b" " + LONG + b" "]),
    ],
)
def test_line_ends_are_not_secret(tmp_path: Path, content: bytes, secrets: list[bytes]) -> None:
    assert read(tmp_path, content) == (secrets, [])


@pytest.mark.promise(68)
@pytest.mark.parametrize("content", [b"", b"\n", b"   \n\t\n", b"\n".join([LONG] * 3)])
def test_secret_count_is_checked(tmp_path: Path, content: bytes) -> None:
    _, problems = read(tmp_path, content)
    assert [problem.text.partition(", ")[2] for problem in problems] == ["wanted: one, or two during a rotation"]


@pytest.mark.promise(68)
@pytest.mark.parametrize("content", [LONG[:-1], b"x", LONG + b"\nshort", b"short\n" + LONG, LONG[:-1] + b"\r\n"])
def test_short_secrets_are_refused(tmp_path: Path, content: bytes) -> None:
    _, problems = read(tmp_path, content)
    assert [problem.text.partition(",")[0] for problem in problems] == ["holds a secret under 16 bytes"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert read_secrets(tmp_path / "shop", problems) == ()
    assert str(tmp_path / "shop") in str(problems[0])


def test_all_missing_secrets_are_named(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(LONG)
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(ConfigError) as caught:
        read_all_secrets(tmp_path, catalogue("good", "missing", "short"))
    assert [Path(problem.file).name for problem in caught.value.problems] == ["missing", "short"]


def test_all_apps_are_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(LONG + name.encode())
    secrets = read_all_secrets(tmp_path, catalogue("one", "two"))
    assert {app: [secret.reveal() for secret in found] for app, found in secrets.items()} == {
        "one": [LONG + b"one"],
        "two": [LONG + b"two"],
    }


def test_problems_hide_the_secret(tmp_path: Path) -> None:
    _, problems = read(tmp_path, b"hunter2")
    assert problems
    assert "hunter2" not in "".join(map(str, problems))


def test_printed_secrets_are_hidden() -> None:
    secret = Secret(LONG)
    for shown in (repr(secret), str(secret), f"{secret}", repr([secret]), str({"shop": (secret,)})):
        assert LONG.decode() not in shown
    assert str(secret) == "Secret(***)"
