"""Which room may know which: read from the source, so that a wrong import fails here and not in production."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, python

ROOMS = ("hookd", "worker", "units")
SERVER_COMMANDS = {f"hookd/cli/{name}.py" for name in "adopt apps edit look root server".split()}
# What replaces or starts a process without the subprocess module.
RUNNERS = re.compile(r"^(system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|fork|forkpty|startfile)$")
PROGRAM_MODULES = {"subprocess", "pty", "multiprocessing", "commands"}
DIGEST = re.compile(r"(?i)digest|signature|hmac|\bmac\b|token")


def sources(*rooms: str) -> list[Path]:
    """The Python files of some rooms; the demo's little app is data, not hookd."""
    found = [file for room in rooms for file in sorted((PROJECT / room).rglob("*.py"))]
    return [file for file in found if "hookd/demo/app/" not in file.as_posix()]


def name_of(file: Path) -> str:
    """A file's path inside the project."""
    return file.relative_to(PROJECT).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@cache
def imported(file: Path, tree: ast.Module | None = None) -> frozenset[str]:
    """Every module that a file imports anywhere, with its full name; relative imports are made absolute."""
    found: set[str] = set()
    for node in ast.walk(tree or tree_of(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = list(file.relative_to(PROJECT).parts[:-1])
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            whole = ".".join(part for part in (base, node.module or "") if part)
            found |= {f"{whole}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            found.add(ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "?")
    return frozenset(found)


def is_in(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def every(*rooms: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", sources(*rooms), ids=name_of)


@every("hookd")
def test_hookd_knows_neither_the_worker_nor_the_units(file: Path) -> None:
    """Only the demo, which sets up a host of its own, and the commands for a server know what stands on a host."""
    knows = file.parent.name == "demo" or name_of(file) in SERVER_COMMANDS
    forbidden = ("worker", "tests") if knows else ("worker", "units", "tests")
    assert not [module for module in imported(file) if is_in(module, *forbidden)]


@pytest.mark.promise(1)
def test_no_program_holds_code_for_root_that_it_does_not_need() -> None:
    """`hookd serve` and `hookd worker` are commands, too: those for a server are only imported when they are meant."""
    code = "import hookd.cli, hookd.serve, sys; print([m for m in sys.modules if m.startswith(('units', 'worker'))])"
    done = subprocess.run(python("-c", code), cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_commands_know_each_other_in_one_direction() -> None:
    """No circle, those included that are only imported when they are meant; the group of all comes last."""
    files = {f"hookd.cli.{file.stem}": file for file in sources("hookd/cli") if not file.stem.startswith("__")}
    left = {
        name: {one for one in files if any(is_in(module, one) for module in imported(file))}
        for name, file in files.items()
    }
    while leaves := {name for name, known in left.items() if not known & left.keys()}:
        left = {name: known for name, known in left.items() if name not in leaves}
    assert not left


@every("hookd/contract")
def test_the_contract_knows_the_standard_library_pydantic_and_itself(file: Path) -> None:
    def allowed(module: str) -> bool:
        return (
            is_in(module, "pydantic", "hookd.contract") or module.split(".", maxsplit=1)[0] in sys.stdlib_module_names
        )

    assert not [module for module in imported(file) if not allowed(module)]


@every("hookd/contract")
def test_the_contract_does_no_input_or_output(file: Path) -> None:
    forbidden = ("os", "io", "socket", "shutil", "tempfile", "urllib.request", "http", "subprocess", "sqlite3")
    assert not [module for module in imported(file) if is_in(module, *forbidden)]
    calls = {ast.unparse(node.func).split(".")[-1] for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)}
    assert not calls & {"open", "read_text", "read_bytes", "write_text", "write_bytes", "print", "input", "unlink"}


@every("hookd/store")
def test_the_store_knows_the_contract_and_itself_of_hookd(file: Path) -> None:
    own = [module for module in imported(file) if is_in(module, "hookd")]
    assert not [module for module in own if not is_in(module, "hookd.contract", "hookd.store")]


@every("worker")
def test_the_worker_knows_the_contract_and_the_store_of_hookd_and_no_units(file: Path) -> None:
    modules = imported(file)
    assert not [module for module in modules if is_in(module, "units", "tests", "flask", "gunicorn")]
    own = [module for module in modules if is_in(module, "hookd")]
    assert not [module for module in own if not is_in(module, "hookd.contract", "hookd.store")]


@every("units")
def test_the_units_know_the_contract_and_the_store_of_hookd_and_no_worker(file: Path) -> None:
    modules = imported(file)
    assert not [module for module in modules if is_in(module, "worker", "tests")]
    own = [module for module in modules if is_in(module, "hookd")]
    assert not [module for module in own if not is_in(module, "hookd.contract", "hookd.store")]


@every("worker")
def test_the_worker_has_one_door_to_other_programs(file: Path) -> None:
    allowed = {"worker/run.py", "worker/checkout.py"}  # The latter for the type of a process alone, see below.
    if name_of(file) not in allowed:
        assert not [module for module in imported(file) if is_in(module, *PROGRAM_MODULES)]


def test_the_checkout_takes_no_more_than_types_and_constants_from_subprocess() -> None:
    tree = tree_of(PROJECT / "worker" / "checkout.py")
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not [call for call in calls if call.startswith("subprocess.")]


@every("units")
def test_the_units_have_one_door_to_other_programs(file: Path) -> None:
    if name_of(file) != "units/run.py":
        assert not [module for module in imported(file) if is_in(module, *PROGRAM_MODULES, "asyncio")]


@every("worker")
def test_only_the_checkout_knows_gitpython(file: Path) -> None:
    knows = any(is_in(module, "git", "gitdb") for module in imported(file))
    assert knows == (name_of(file) == "worker/checkout.py")


def test_the_builders_of_commands_cannot_run_anything() -> None:
    modules = imported(PROJECT / "worker" / "commands.py")
    assert not [module for module in modules if is_in(module, "os", "worker.run", "asyncio", *PROGRAM_MODULES)]


def receiver_files() -> list[Path]:
    return [file for file in sources("hookd") if not name_of(file).startswith(("hookd/cli/", "hookd/demo/"))]


@pytest.mark.parametrize("file", receiver_files(), ids=name_of)
def test_the_receiver_runs_no_program_and_knows_neither_commands_nor_demo(file: Path) -> None:
    forbidden = (*PROGRAM_MODULES, "asyncio.subprocess", "hookd.cli", "hookd.demo", "git")
    assert not [module for module in imported(file) if is_in(module, *forbidden)]


def calls_of(file: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call))


@every(*ROOMS)
def test_nothing_goes_through_a_shell(file: Path) -> None:
    for call in calls_of(file):
        shell = [word.value for word in call.keywords if word.arg == "shell"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in shell), ast.unparse(call)
        assert not re.search(r"getoutput|getstatusoutput|create_subprocess_shell", ast.unparse(call.func))


@every(*ROOMS)
def test_no_function_of_os_runs_a_program(file: Path) -> None:
    taken = {module.removeprefix("os.") for module in imported(file) if module.startswith("os.")}
    attributes = {
        node.attr
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os"
    }
    # `hookd worker` becomes the worker: no shell, no search of the PATH, and nothing that a push could name.
    allowed = {"execv", "execve"} if name_of(file).startswith("hookd/cli/") else set()
    if name_of(file) == "worker/keeper.py":
        allowed = {"fork"}  # Runs no program: it stands between the worker and the process that deploys.
    assert not {name for name in taken | attributes if RUNNERS.match(name)} - allowed


@every(*ROOMS)
def test_nothing_is_unpickled_or_evaluated(file: Path) -> None:
    assert not [module for module in imported(file) if is_in(module, "pickle", "marshal", "shelve", "dill", "?")]
    assert not {ast.unparse(call.func) for call in calls_of(file)} & {"eval", "exec", "compile"}


@pytest.mark.threat(3)
@every("hookd", "worker")
def test_digests_and_tokens_are_never_compared_with_the_equals_sign(file: Path) -> None:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [side for side in (node.left, *node.comparators) if not is_plain(side)]
            assert len(sides) < 2 or not DIGEST.search(ast.unparse(node)), ast.unparse(node)


def is_plain(side: ast.expr) -> bool:
    """Tell whether one side of a comparison is no secret in itself: a constant or a length."""
    return isinstance(side, ast.Constant) or (isinstance(side, ast.Call) and ast.unparse(side.func) == "len")


def test_the_rules_are_asked_of_every_room() -> None:
    for room in (*ROOMS, "hookd/contract", "hookd/store"):
        assert sources(room), room
    assert {name_of(file) for file in sources("hookd/cli")} >= SERVER_COMMANDS


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import worker.run", "worker.run"),
        ("from worker import run", "worker.run"),
        ("from ..worker import run", "worker.run"),
        ("def f():\n    import subprocess", "subprocess"),
        ("__import__('worker')", "worker"),
        ("import importlib\nimportlib.import_module(name)", "?"),
    ],
)
def test_an_import_is_found_however_it_is_written(line: str, module: str) -> None:
    assert module in imported(PROJECT / "hookd" / "new.py", ast.parse(line))
