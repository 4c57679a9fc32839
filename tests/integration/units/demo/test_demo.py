"""The demo, as the README shows it."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from tests.support.processes import python, running, wait_for
from units.demo import story

ENDINGS = ("succeeded shop", "succeeded shop", "rolled back shop")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory with a short name, because a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        yield Path(directory)


def environment(tmp_path: Path) -> dict[str, str]:
    """Return a person's environment, with temporary files below `tmp_path`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
    (tmp_path / "t").mkdir()
    return {**kept, "TMPDIR": str(tmp_path / "t")}


@pytest.mark.promise(3)
def test_three_pushes_without_a_failure(short_path: Path) -> None:
    """Read the story, type the commands that it names, and end it with Ctrl-C.

    A shell's `&` starts the demo with SIGINT ignored.
    """
    log = short_path / "log"
    in_background = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *python("-m", "hookd.cli", "demo")]
    with running(in_background, log, environment(short_path)) as demo:
        wait_for(lambda: "It stays up until Ctrl-C" in log.read_text(), 120, "the end of the story")
        text = log.read_text()
        ended = [line for line in text.splitlines() if line.startswith(("succeeded", "rolled back", "failed"))]
        assert [line.startswith(start) for line, start in zip(ended, ENDINGS, strict=True)] == [True] * 3
        assert text.count(" 0 failed") == 2
        file = re.search(r"\. (\S+/rq\.env)", text)
        assert file is not None
        for command in ("hookd status shop", "rq info --raw", "rq requeue --queue hookd --all"):
            line = f". {file[1]}; {command}"
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        assert "Requeueing 1 jobs" in done.stdout
        push_without_telling(text)
        wait_for(lambda: "version four" in visit(text), 120, "a push without an event")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(180) == 0  # The deployment that was asked for again ends first.
    assert list((short_path / "t").iterdir()) == [], "nothing is left behind"
    assert _leftovers(short_path) == []


def test_once_ends_after_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def note(step: str) -> AbstractContextManager[None]:
        calls.append(step)
        return nullcontext()

    steps = ("create_environment", "running_services", "_run_acts", "reconciling", "_wait_for_interrupt")
    for step in steps:
        monkeypatch.setattr(story, step, lambda *_, step=step: note(step))
    for arguments in (["--once"], []):
        assert CliRunner().invoke(story.demo, arguments).exit_code == 0
    assert calls == [*steps[:3], *steps]


def push_without_telling(text: str) -> None:
    """Run the demo's commands: remove the webhook, fix the app, push."""
    lines = [line.strip() for line in text.splitlines()]
    typed = [line for start in ("chmod -x ", "cd ", "git -c ") for line in lines if line.startswith(start)]
    assert len(typed) == 3
    done = subprocess.run(["sh", "-ec", "\n".join(typed)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def visit(text: str) -> str:
    """Return the page of the demo's app."""
    found = re.search(r"The app: (http\S+)", text)
    assert found is not None
    with urlopen(found[1], timeout=10) as answer:
        return str(answer.read(), "utf-8")


def _leftovers(directory: Path) -> list[str]:
    """Return the commands of processes that use a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if str(directory) in command:
            found.append(command.replace("\0", " "))
    return found
