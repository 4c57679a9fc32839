"""The command line of systemd-run, as systemd would read it."""

import subprocess

import pytest

from units.system.foreground import systemd_run

_WORDS = ("printf", "%s-", "$HOME", "${X} $$", "%n", "a b", "new\nline", "", "-x")


def inside(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words behind the options, after systemd's reading of the dollars."""
    command = systemd_run("a.service", ("UMask=0027",), argv, is_terminal=False)
    return tuple(word.replace("$$", "$") for word in command[command.index("--") + 1 :])


def test_words_stay_as_they_are() -> None:
    done = subprocess.run(inside(_WORDS), capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "".join(f"{word}-" for word in _WORDS[2:])


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill $$", 143)])
def test_signal_becomes_a_status(script: str, status: int) -> None:
    assert subprocess.run(inside(("sh", "-c", script)), check=False, timeout=20).returncode == status


def test_terminal_gets_its_own() -> None:
    options = {at: systemd_run("a.service", (), ("true",), is_terminal=at) for at in (True, False)}
    assert "--pty" in options[True] and "--pipe" not in options[True]
    assert "--pipe" in options[False] and "--pty" not in options[False]
