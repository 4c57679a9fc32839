"""Seconds to find the plan of a repository with 20,000 files, beside `git ls-tree -r -l` of the same commit."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import first_line, machine, options, table, times

_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from units.finders.__main__ import main; main(sys.argv[1:])"
)
_MODULE: Final = """\
import os
from flask import Blueprint, render_template

NAME = os.environ.get("NAME_{number}", "shop")
page = Blueprint("page{number}", __name__)


@page.route("/{number}")
def show(*, deep: bool = False) -> str:
    values = [(number, number ** 2) for number in range(10) if number % 2]
    return render_template("page.html", values=values, name=NAME, deep=deep)


"""
_FACTORY: Final = "from flask import Flask\n\n\ndef create_app():\n    app = Flask(__name__)\n{imports}    return app\n"


def main() -> None:
    """Make the repository, measure both in turn, and print the table."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    given = parser.parse_args()
    rounds, files = (1, 200) if given.once else (given.rounds, given.files)
    with tempfile.TemporaryDirectory(prefix="hookd-bench-") as name:
        repository = Path(name)
        _make(repository, files)
        peer = _measure(rounds, lambda: _run("git", "-C", name, "ls-tree", "-r", "-l", "HEAD"))
        code = str(Path(__file__).resolve().parents[1])
        own = _measure(rounds, lambda: _run(sys.executable, "-P", "-c", _PROGRAM, code, name, "HEAD"))
    rows = [
        ("the plan, with the start of Python", f"{own[0]:.2f}", f"{own[1]:.2f}", times(own[1], peer[1])),
        ("git ls-tree -r -l", f"{peer[0]:.2f}", f"{peer[1]:.2f}", "1.00x"),
    ]
    print(table((f"{files} files", "seconds", "CPU", "of CPU"), rows))
    print(machine(git=first_line("git", "--version").split()[-1]))


def _make(repository: Path, count: int) -> None:
    """Make a repository: a third modules that the app imports, the rest templates and static files."""
    _run("git", "init", "-q", str(repository))
    package = repository / "shop"
    names = [f"m{number}" for number in range(count // 3)]
    for number, name in enumerate(names):
        path = package / f"p{number % 50}" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_MODULE.replace("{number}", str(number)) * 3)
    for number in range(count - len(names) - 2):
        path = package / "static" / str(number % 100) / f"{number}.css"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"p{{color:{number}}}")
    imports = "".join(f"    from shop.p{number % 50} import {name}\n" for number, name in enumerate(names))
    (package / "__init__.py").write_text(_FACTORY.replace("{imports}", imports))
    (repository / "requirements.txt").write_text("flask\n")
    git = ("git", "-C", str(repository), "-c", "user.name=b", "-c", "user.email=b@example.org", "-c", "gc.auto=0")
    _run(*git, "add", "-A")
    _run(*git, "commit", "-qm", "x")
    _run(*git, "repack", "-adq")  # As a fetched mirror has its objects.


def _measure(rounds: int, work: Callable[[], None]) -> tuple[float, float]:
    """Return the median time of some rounds, and that of the CPUs, in seconds."""
    seconds, used = [], []
    for _ in range(rounds):
        begin, before = time.perf_counter(), os.times()
        work()
        after = os.times()
        seconds.append(time.perf_counter() - begin)
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return median(seconds), median(used)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
