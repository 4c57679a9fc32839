"""The tests on real servers run in two halves: each file is in one of them, and every name of the lists is a file."""

from tests.server.conftest import HALVES, files
from tests.support.processes import PROJECT

FILES = {file.name: file for file in (PROJECT / "tests" / "server").rglob("test_*.py")}


def test_every_file_is_in_one_half_and_every_name_is_a_file() -> None:
    named = sorted(name for half in HALVES for name in files(half))
    assert named == sorted(FILES)


def test_what_looks_at_the_kernel_s_protection_of_links_runs_with_what_turns_it_off() -> None:
    together = {name for name, file in FILES.items() if "protected_" in file.read_text()}
    assert together <= files("1")
