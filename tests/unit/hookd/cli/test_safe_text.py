"""What hookd prints is text: nothing that somebody else named or wrote steers the terminal of whoever reads it."""

import pytest

from hookd.cli.common import stop
from hookd.cli.safe_text import sanitize, sanitize_markup
from units.cli.common import print_line

HOSTILE = "zz\x1b]52;c;eA==\x07\r\x9b2J\u202e\udc80"
SHOWN = r"zz\x1b]52;c;eA==\x07\r\x9b2J\u202e\udc80"


def test_what_steers_a_terminal_is_written_out() -> None:
    assert sanitize(f"a\tb ü ☃ \u00a0\n{HOSTILE}") == f"a\tb ü ☃ \u00a0\n{SHOWN}"
    assert sanitize_markup(f"[red]\n\t{HOSTILE}") == rf"\[red]\n\t{SHOWN}"


@pytest.mark.threat(64)
def test_what_root_s_commands_say_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(f"\n  untracked: {HOSTILE}\n")
    assert capsys.readouterr().out == f"\n  untracked: {SHOWN}\n\n"


def test_how_a_command_ends_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stop(f"nothing was changed:\n  {HOSTILE}", hint=HOSTILE)
    assert capsys.readouterr().err == f"hookd: nothing was changed:\n  {SHOWN}\n  next: {SHOWN}\n"
