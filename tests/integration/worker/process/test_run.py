"""Programs that hang, flood, fork, ignore signals or die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, wait_for
from worker.errors import CommandFailed
from worker.process.run import Command, LineSplitter, run

PATH = "/usr/local/bin:/usr/bin:/bin"


def command(code: str, total: float = 20, silence: float = 20, cwd: Path | None = None) -> Command:
    """Build a command that runs a Python program. -I -S keep its start short and its output its own."""
    return Command((sys.executable, "-I", "-S", "-u", "-c", code), total, silence, cwd, {"PATH": PATH})


def shell(code: str, silence: float) -> Command:
    """Build a command that runs a shell program, whose output comes sooner than that of Python."""
    return Command(("/bin/sh", "-c", code), 20, silence, env={"PATH": PATH})


def output(code: str) -> list[str]:
    lines: list[str] = []
    run(command(code), lines.append)
    return lines


def alive(pid: int) -> bool:
    """Return True if a process runs. A zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def pid_in(file: Path) -> int:
    wait_for(lambda: file.exists() and file.read_text().strip(), what=f"a process id in {file.name}")
    return int(file.read_text())


def gone(pid: int) -> None:
    wait_for(lambda: not alive(pid), what=f"the end of process {pid}")


def test_output_arrives_in_order() -> None:
    assert output("import os\nfor n in range(3): os.write(1 + n % 2, f'line {n}\\n'.encode())") == [
        "line 0",
        "line 1",
        "line 2",
    ]


def test_last_line_needs_no_newline() -> None:
    assert output("print('one'); print('two', end='')") == ["one", "two"]


def test_progress_display_becomes_lines() -> None:
    assert output(r"print('10 %\r20 %\r\ndone')") == ["10 %", "20 %", "done"]


def test_output_may_be_no_utf8() -> None:
    assert output(r"import os; os.write(1, b'a\xffb\n')") == ["a�b"]


@pytest.mark.threat(61)
def test_flood_arrives_whole() -> None:
    code = "import os\nfor n in range(2000): os.write(1, b'%06d ' % n + b'x' * 3000 + b'\\n')"
    lines = output(code)
    assert [int(line[:6]) for line in lines] == list(range(2000))


@pytest.mark.threat(61)
def test_endless_line_does_not_fill_memory() -> None:
    lines = output("import os\nfor n in range(300): os.write(1, b'x' * 10000)")
    assert sum(map(len, lines)) == 3_000_000
    assert max(map(len, lines)) <= 4000


def test_long_line_is_split() -> None:
    lines: list[str] = []
    LineSplitter(lines.append).take(b"x" * 9000 + b"\n")
    assert [len(line) for line in lines] == [4000, 4000, 1000]


def test_stdin_is_empty() -> None:
    assert output("import sys; print(repr(sys.stdin.read()))") == ["''"]


def test_environment_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKD_CANARY", "secret")
    lines: list[str] = []
    run(Command(("/usr/bin/env",), 20, 20, env={"PATH": PATH, "ONE": "1"}), lines.append)
    assert sorted(lines) == ["ONE=1", f"PATH={PATH}"]


def test_program_uses_its_own_path(tmp_path: Path) -> None:
    program = tmp_path / "only-there"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    lines: list[str] = []
    run(Command(("only-there",), 20, 20, env={"PATH": str(tmp_path)}), lines.append)
    assert lines == ["found"]


def test_working_directory(tmp_path: Path) -> None:
    lines: list[str] = []
    run(command("import os; print(os.getcwd())", cwd=tmp_path), lines.append)
    assert lines == [str(tmp_path)]


def test_no_descriptor_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        shown = output("import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)), len(os.listdir("
                       "'/proc/self/fd')))")  # fmt: skip
    assert shown[0].startswith("/dev/null pipe:")
    assert shown[0].endswith(" 4")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('it is broken'); raise SystemExit(1)", "ended with status 1: it is broken"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("import os, signal; print('last words'); os.kill(os.getpid(), 15)", "was killed by signal 15: last words"),
    ],
)
def test_failure_is_described(code: str, cause: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(command(code), lambda _: None)
    assert caught.value.cause == f"{Path(sys.executable).name} {cause}"


def test_failure_keeps_the_last_lines() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(command("for n in range(250): print(n)\nraise SystemExit(1)"), lambda _: None)
    assert caught.value.lines == tuple(str(n) for n in range(50, 250))


def test_missing_program_is_named() -> None:
    with pytest.raises(CommandFailed, match=r"^no-such-program cannot be started: No such file or directory$"):
        run(Command(("no-such-program",), 5, 5, env={"PATH": PATH}), lambda _: None)


def test_forbidden_program_is_named(tmp_path: Path) -> None:
    program = tmp_path / "plain"
    program.write_text("text")
    with pytest.raises(CommandFailed, match=r"^plain cannot be started: Permission denied$"):
        run(Command((str(program),), 5, 5), lambda _: None)


@pytest.mark.threat(61)
def test_total_limit() -> None:
    code = "import time\nwhile True: print('busy'); time.sleep(0.01)"
    with pytest.raises(CommandFailed, match=r"ran longer than 0\.5 s and was stopped"):
        run(command(code, total=0.5), lambda _: None)


def test_silence_limit() -> None:
    lines: list[str] = []
    with pytest.raises(CommandFailed, match=r"printed nothing for 0\.5 s and was stopped"):
        run(shell("echo start; exec sleep 600", silence=0.5), lines.append)
    assert lines == ["start"]


def test_silence_limit_with_closed_output() -> None:
    with pytest.raises(CommandFailed, match="printed nothing"):
        run(command("import os, time; os.close(1); os.close(2); time.sleep(600)", silence=0.5), lambda _: None)


def test_program_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.process.run.GRACE_SECONDS", 0.3)
    lines: list[str] = []
    with pytest.raises(CommandFailed):
        run(shell("trap '' TERM; echo $$; exec sleep 600", silence=1), lines.append)
    assert not alive(int(lines[0]))


# Its child ignores TERM from its first moment on.
GRANDCHILD = """
trap '' TERM; sleep 600 & echo $!; trap - TERM
"""


@pytest.mark.parametrize(("then", "silence"), [("exit 0", 20.0), ("exit 1", 20.0), ("exec sleep 600", 1.0)])
def test_grandchild_is_killed(then: str, silence: float) -> None:
    lines: list[str] = []
    try:
        run(shell(GRANDCHILD + then, silence=silence), lines.append)
    except CommandFailed:
        assert then != "exit 0"
    gone(int(lines[0]))


DAEMON = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    open({file!r}, 'w').write(str(os.getpid()))\n"
    "    {then}\n"
    "while not os.path.exists({file!r}): time.sleep(0.01)\n"
    "time.sleep(0.3)\n"  # The flood is under way.
    "os.write(1, b'the program itself is done\\n'); os._exit(0)\n"
)


@pytest.mark.parametrize("then", ["time.sleep(600)", "while True: os.write(1, b'flood ' * 600 + b'\\n')"])
def test_daemon_is_not_awaited(tmp_path: Path, then: str) -> None:
    file = tmp_path / "pid"
    later = [0]

    def slow_reader(line: str) -> None:
        """Give the flood time to fill the pipe again, and give up when it is read for ever."""
        time.sleep(0.001)
        later[0] += bool(later[0]) or "the program itself is done" in line
        assert later[0] < 1000

    try:
        run(command(DAEMON.format(file=str(file), then=then)), slow_reader)
    finally:
        if alive(pid_in(file)):  # The flooding one has died of its closed pipe.
            os.kill(pid_in(file), signal.SIGKILL)
    assert later[0]


class _Interrupt(BaseException):
    """Stands for a job timeout or Ctrl-C."""


def test_interruption_stops_the_program() -> None:
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise _Interrupt

    with pytest.raises(_Interrupt):
        run(command("import os, time; print(os.getpid()); time.sleep(600)"), interrupt)
    assert not alive(seen[0])


WORKER = """
import sys
from worker.process.run import Command
from worker.process.run import run
code = "import os, time; open({file!r}, 'w').write(str(os.getpid())); time.sleep(600)"
run(Command((sys.executable, "-c", code), 600, 600), print)
"""


@pytest.mark.threat(47)
def test_program_dies_with_the_worker(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    worker = subprocess.Popen([sys.executable, "-c", WORKER.format(file=str(file))], cwd=PROJECT)
    try:
        child = pid_in(file)
        assert alive(child)
    finally:
        worker.kill()
        worker.wait()
    gone(child)
