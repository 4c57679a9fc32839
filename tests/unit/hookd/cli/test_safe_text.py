"""Output of commands: text of others never controls the terminal, and a typed password is not repeated."""

import shlex
import sys

import pytest

from hookd.cli.common import fail, print_line, styled, sudo_command
from hookd.queue.client import redis_address

HOSTILE = "zz\x1b]52;c;eA==\x07\r\x9b2J\u202e\udc80"
SHOWN = r"zz\x1b]52;c;eA==\x07\r\x9b2J\u202e\udc80"


def test_styled_text_is_escaped() -> None:
    assert styled(f"\n\t{HOSTILE}", bold=True) == f"\x1b[1m\\n\\t{SHOWN}\x1b[0m"


def test_lines_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(f"\n  untracked: ü ☃ {HOSTILE}\n")
    assert capsys.readouterr().out == f"\n  untracked: ü ☃ {SHOWN}\n\n"


def test_errors_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail(f"nothing was changed:\n  {HOSTILE}", hint=HOSTILE)
    assert capsys.readouterr().err == f"hookd: nothing was changed:\n  {SHOWN}\n  next: {SHOWN}\n"


@pytest.mark.parametrize(
    "url", ["https://anna:word@h.org/b.git", "https://token@h.org/b.git", "--repo=ssh://a:p'w@h/b", "https://a:p w@h/b"]
)
def test_credentials_are_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(sys, "argv", ["hookd", "app", "add", "blog", "--repo", url])
    assert sudo_command() == "sudo hookd --help"


@pytest.mark.parametrize("url", ["ssh://git@h.org/b.git", "git@h.org:b.git", "http://127.0.0.1:80/healthz?x=1"])
def test_command_is_repeated_with_sudo(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(sys, "argv", ["hookd", "--config", "h.toml", "app", "add", "blog", "--repo", url])
    assert sudo_command() == shlex.join(["sudo", "hookd", "app", "add", "blog", "--repo", url])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock"),
        ("redis://anna:a@word@h.org:6379/0?password=x", "redis://h.org:6379/0"),
    ],
)
def test_redis_address_hides_the_password(url: str, shown: str) -> None:
    assert redis_address(url) == shown
