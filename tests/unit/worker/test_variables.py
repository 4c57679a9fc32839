"""Files that the app reads itself: the log redacts a value in each reading."""

import io

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from worker.report.log import MASK, Redaction
from worker.variables import readings


@pytest.mark.threat(21)
@pytest.mark.parametrize(
    "line",
    [
        "TOKEN=canary-1",
        "export TOKEN=canary-1",
        "TOKEN = 'canary-1'",
        'TOKEN="canary-1" # note',
        "TOKEN=canary-1 # note",
        "'TOKEN'=canary-1",
        r"TOKEN='canary\-1'",
        r'TOKEN="canary\-1"',
        "TOKEN=canary\\\n-1",
        "TOKEN='first line\ncanary-1\nlast line'",
        'TOKEN="first line\\ncanary-1\\nlast line"',
        "OPEN='\nTOKEN=canary-1",
        "TOKEN=canary-1\nTOKEN=another",
    ],
)
def test_value_is_masked(line: str) -> None:
    assert Redaction(*readings(line)).apply("it is canary-1") == f"it is {MASK}"


WORD = st.text(alphabet="abc'\"\\ #;$=\t\né{}", max_size=12)
LINES = st.lists(st.tuples(st.sampled_from(["", "export ", " "]), st.sampled_from("ABC"), WORD)).map(
    lambda lines: "\n".join(f"{prefix}{name}={value}" for prefix, name, value in lines)
)


@given(LINES)
def test_readings_of_python_dotenv(text: str) -> None:
    """Include each line of each value that python-dotenv reads, because most apps use it."""
    found = {
        (name, line.strip()) for one in readings(text) for name, value in one.items() for line in value.splitlines()
    }
    for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items():
        for line in (value or "").splitlines():
            assert not line.strip() or (name, line.strip()) in found
