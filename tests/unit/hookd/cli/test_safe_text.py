"""Output of commands: text of others never controls the terminal, and a typed password is not repeated."""

import sys

import pytest

from hookd.cli.common import fail, print_line, styled, sudo_command

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


def test_repeated_command_hides_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys,
        "argv",
        ["hookd", "--config", "h.toml", "app", "add", "blog", "--repo", "https://anna:word@git.example.org/b.git"],
    )
    hidden = "app add blog --repo 'https://***@git.example.org/b.git'"
    assert sudo_command() == f"sudo hookd --config h.toml {hidden}"
    assert sudo_command(keep_config=False) == f"sudo hookd {hidden}"
