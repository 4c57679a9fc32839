"""An environment that starts with the files of the one before: what it shares, and what no build can change."""

import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environments import Installer, installed
from tests.support.wheels import make_wheel
from worker.environment.base import link_environment
from worker.environment.prepare import mark_complete
from worker.errors import CommandFailed, DeployError

TWO = {"requirements.txt": "alpha\nbeta\n"}
PLACES = ("bin", "lib", "lib/python3*", "lib/python3*/site-packages")
BIG = 256 * 1024 * 1024


@pytest.fixture
def at(tmp_path: Path) -> Installer:
    made = Installer(tmp_path)
    for name in ("alpha", "beta", "gamma"):
        make_wheel(made.wheels, name)
    return made


def module(venv: Path, name: str) -> Path:
    return next(venv.glob(f"lib/*/site-packages/{name}.py"))


def test_only_the_difference_is_new(at: Installer) -> None:
    first = at.install(TWO)
    make_wheel(at.wheels, "alpha", "2.0")
    second = at.install({"requirements.txt": "alpha==2.0\nbeta\n"})
    assert installed(second) == {"alpha": "2.0", "beta": "1.0"}
    assert module(first, "beta").samefile(module(second, "beta"))
    assert not module(first, "alpha").samefile(module(second, "alpha"))
    assert installed(first) == {"alpha": "1.0", "beta": "1.0"}
    assert list(second.rglob("__pycache__/alpha.*.pyc"))


@pytest.mark.parametrize("policy", ["split", "group", "acl"])
def test_removed_package_is_gone(at: Installer, policy: str) -> None:
    at.ownership = policy
    at.install(TWO)
    second = at.install({"requirements.txt": "beta\n"})
    assert installed(second) == {"beta": "1.0"}
    assert not list(second.rglob("alpha*"))


def test_newest_version_is_found(at: Installer) -> None:
    """A list without versions gives what a new environment would have."""
    at.install(TWO)
    make_wheel(at.wheels, "alpha", "2.0")
    assert installed(at.install({"requirements.txt": "alpha\nbeta\n# more\n"})) == {"alpha": "2.0", "beta": "1.0"}


def test_programs_name_their_environment(at: Installer) -> None:
    first = at.install(TWO)
    script = first / "bin" / "hello"
    script.write_text(f"#!{first}/bin/python\nimport sys; print(sys.prefix)\n")
    script.chmod(0o555)
    second = at.install({"requirements.txt": "beta\n"})
    done = subprocess.run([second / "bin" / "hello"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(second)
    assert str(first) not in (second / "bin" / "activate").read_text()


def test_no_file_has_a_write_bit(at: Installer) -> None:
    venv = at.install(TWO)
    files = [path for path in venv.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    assert not [path for path in files if path.stat().st_mode & 0o222]


@pytest.mark.parametrize("variable", ["UV_EXTRA_INDEX_URL", "CFLAGS"])
def test_other_build_shares_nothing(at: Installer, variable: str) -> None:
    """The same version may have other files then."""
    first = at.install(TWO)
    value = "https://index.example.org/simple"
    second = at.install(TWO, environment={**at.variables, variable: value})
    assert not module(first, "beta").samefile(module(second, "beta"))


def test_failed_difference_is_built_from_nothing(at: Installer) -> None:
    """A new package has a file of an old one, which it may not replace."""
    first = at.install(TWO)
    wheel = make_wheel(at.wheels, "delta")
    clash = make_wheel(at.directory / "other", "beta", code="OTHER = True\n")
    subprocess.run(["python3", "-c", CLASH, str(wheel), str(clash)], check=True)
    second = at.install({"requirements.txt": "alpha\nbeta\ndelta\n"})
    assert installed(second) == {"alpha": "1.0", "beta": "1.0", "delta": "1.0"}
    assert "OTHER" not in module(first, "beta").read_text()


CLASH = """
import sys, zipfile
module = zipfile.ZipFile(sys.argv[2]).read("beta.py")
with zipfile.ZipFile(sys.argv[1], "a") as wheel:
    wheel.writestr("beta.py", module)
"""


def test_broken_package_keeps_its_cause(at: Installer) -> None:
    at.install(TWO)
    with pytest.raises(CommandFailed, match="nowhere"):
        at.install({"requirements.txt": "nowhere\n"})


def lead_away(venv: Path, place: str, away: Path) -> None:
    """Move a directory of an environment elsewhere, as a build can, and leave a link to it."""
    directory = next(venv.glob(place))
    directory.rename(away)
    directory.symlink_to(away)


def state(directory: Path) -> Iterator[tuple[str, int, int, int]]:
    for path in sorted(directory.rglob("*")):
        found = path.lstat()
        yield str(path), found.st_ino, found.st_nlink, found.st_mtime_ns


@pytest.mark.threat(95)
@pytest.mark.parametrize("place", PLACES)
def test_base_leads_nowhere_else(at: Installer, place: str) -> None:
    first, foreign = at.install(TWO), at.directory / "foreign"
    lead_away(first, place, foreign)
    (foreign / "__pycache__").mkdir(exist_ok=True)
    (foreign / "notes").write_text(f"see {first}/bin/python\n")
    before = list(state(foreign))
    second = at.install({"requirements.txt": "beta\n"})
    assert list(state(foreign)) == before
    assert installed(second) == {"beta": "1.0"}
    assert not module(first, "beta").samefile(module(second, "beta"))


@pytest.mark.threat(95)
def test_inner_link_is_not_followed(at: Installer) -> None:
    """Bytecode beside the packages is left out, and a package's directory stays a link."""
    first, foreign = at.install(TWO), at.directory / "foreign"
    lead_away(first, "lib/python3*/site-packages/__pycache__", foreign)
    (module(first, "beta").parent / "package").symlink_to(foreign)
    (first / "bin" / "inner").symlink_to(foreign)
    before = list(state(foreign))
    second = at.install({"requirements.txt": "beta\n"})
    assert list(state(foreign)) == before
    assert module(first, "beta").samefile(module(second, "beta"))
    assert not (module(second, "beta").parent / "__pycache__").is_symlink()


@pytest.mark.threat(95)
@pytest.mark.parametrize("place", PLACES)
def test_environment_with_link_stays_incomplete(at: Installer, place: str) -> None:
    venv = at.install(TWO)
    (venv / ".hookd-complete").unlink()
    lead_away(venv, place, at.directory / "foreign")
    with pytest.raises(DeployError):
        mark_complete(venv, "family")
    assert not (venv / ".hookd-complete").exists()


def test_big_program_is_not_read(at: Installer) -> None:
    first, second = at.install(TWO), at.directory / "second"
    with (first / "bin" / "big").open("wb") as file:
        file.truncate(BIG)
    second.mkdir()
    tracemalloc.start()
    try:
        link_environment(first, second)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BIG // 16
    assert (second / "bin" / "big").samefile(first / "bin" / "big")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user at hand")
@pytest.mark.threat(95)
@pytest.mark.parametrize(
    "harm", ["echo EVIL > {file}", "chmod u+w {file}", "truncate -s 0 {file}", "ln {file} {other}"]
)
def test_build_cannot_change_a_shared_file(at: Installer, harm: str) -> None:
    """A build owns the directories of its environment, and the worker owns the linked files."""
    worker, builder = 990_001, 990_002
    first = at.install(TWO)
    second = at.install({"requirements.txt": "beta\n"})
    file = module(second, "beta")
    for path in (at.directory, *at.directory.parents):
        path.chmod(path.stat().st_mode | 0o755)
    for path in (second, *second.rglob("*")):
        owner = builder if path.is_dir() and not path.is_symlink() else worker
        os.chown(path, owner, owner, follow_symlinks=False)
    before = module(first, "beta").stat()
    shell = harm.format(file=file, other=second / "second")
    done = subprocess.run(["sh", "-c", shell], user=builder, group=builder, extra_groups=[], check=False)
    assert done.returncode != 0
    after = module(first, "beta").stat()
    assert (after.st_size, after.st_mode) == (before.st_size, before.st_mode)
