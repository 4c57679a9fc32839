"""The tests on real servers run in two halves: each file is in one of them, and every name of the list is a file."""

from tests.server import conftest
from tests.support.processes import PROJECT

FILES = {file.name for file in (PROJECT / "tests" / "server").glob("test_*.py")}


def test_every_file_of_the_second_half_is_there() -> None:
    assert FILES >= conftest._SECOND_HALF
    assert FILES - conftest._SECOND_HALF


def test_what_looks_at_the_kernel_s_protection_of_links_runs_with_what_turns_it_off() -> None:
    together = {name for name in FILES if "protected_" in (PROJECT / "tests" / "server" / name).read_text()}
    assert {name in conftest._SECOND_HALF for name in together} == {False}
