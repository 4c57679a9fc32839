"""Files of variables: systemd's rules, and the lines that look otherwise than systemd reads them."""

import io
import string

import pytest
from dotenv import dotenv_values
from hypothesis import assume, given
from hypothesis import strategies as st

from hookd.variables import (
    MAX_BYTES,
    Problem,
    UnusableVariables,
    find_problems,
    misread,
    name_problems,
    parse,
    spell,
    value_problems,
    with_variable,
    without,
)
from tests.support.variables import CASE, READINGS

VALUE = "canary-value"


@pytest.mark.parametrize(("text", "read"), READINGS.items())
def test_rules_of_systemd(text: str, read: dict[str, str] | None) -> None:
    """tests/server/host/test_variables.py asks systemd the same."""
    if read is None:
        with pytest.raises(UnusableVariables):
            parse(text)
    else:
        assert parse(text) == read


@pytest.mark.parametrize(
    ("text", "why", "spelling"),
    [
        (f"export A={VALUE}", "`export` is not understood", 'A="..."'),
        (f"A={VALUE} # note", "a comment needs a line of its own", 'A="..."'),
        (f'A="{VALUE}" # note', "a comment needs a line of its own", 'A="..."'),
        ("A=# note", "a comment needs a line of its own", 'A="..."'),
        (rf"A=pa\$s\{VALUE}", "a backslash outside of quotes is dropped", "A='...'"),
        ("A=C:\\", "a backslash outside of quotes is dropped", "A='...'"),
        (rf'A="{VALUE}\nline2"', r"`\n` and the like are not replaced", "A='...', or a value of several lines"),
        (f"A='{VALUE}''s'", "text follows the closing quote", 'A="..."'),
        (f"A='it'{VALUE}", "text follows the closing quote", 'A="..."'),
        (f"MY-VAR={VALUE}", "the name is invalid", 'MY_VAR="..."'),
        (f"app.name={VALUE}", "the name is invalid", 'app_name="..."'),
        (f"1A={VALUE}", "the name is invalid", '_1A="..."'),
        (f"={VALUE}=", "the name is invalid", 'NAME="..."'),
        (f"A ={VALUE}", "there are blanks around `=`", 'A="..."'),
        (f"A= {VALUE}", "there are blanks around `=`", 'A="..."'),
        (f"A = '{VALUE}'", "there are blanks around `=`", 'A="..."'),
        (VALUE, "a line without `=` is ignored", 'NAME="..."'),
        (f"A={VALUE}/$OTHER", "`$` is not replaced by a variable", "A='...'"),
        (f'A="{VALUE}/${{OTHER}}"', "`$` is not replaced by a variable", "A='...'"),
        (f'A="{VALUE}$(date)"', "`$` is not replaced by a variable", "A='...'"),
        (f'A="{VALUE}', "a quote is not closed", 'A="..."'),
        (f"A='{VALUE}\nB=2\n", "an open quote swallows the next lines", 'A="..."'),
        (f'A="{VALUE}\nB="2"\n', "an open quote swallows the next lines", 'A="..."'),
        (f"A='{VALUE}\n# don't\nB=1", "an open quote swallows the next lines", 'A="..."'),
        (f'A="{VALUE}\nB=2\nC=3"', "an open quote swallows the next lines", 'A="..."'),
        (f"A={VALUE}\\\nb", "a backslash joins this line and the next", 'A="..."'),
        (f'A="{VALUE}\\\nb"', "a backslash joins this line and the next", 'A="..."'),
        (f"A={VALUE}\xa0", "the value has an invisible character at its end", 'A="..."'),
        ("A=" + "x" * 131_070, "no program starts with more than 128 KiB", "a shorter value"),
        (f"# {VALUE} \\\nA=1", "before systemd 254, this comment swallows the next line", "it without"),
        (f"\ufeffA={VALUE}", "the file begins with a byte order mark", "the file without it"),
        (f"A={VALUE}\r\n", "a line ends as on Windows", "the file with the line ends of Unix"),
        (f"A={VALUE}\0", "a character that is not text", "the line without it"),
        (f"A={VALUE}\ufffe", "a character that is not text", "the line without it"),
    ],
)
def test_misread_lines(text: str, why: str, spelling: str) -> None:
    (found,) = misread(text)
    assert (found.line, found.why.startswith(why), found.spelling.startswith(spelling)) == (1, True, True), found
    assert VALUE not in str(found)


def test_repeated_name() -> None:
    (found,) = misread("A=1\nB=2\n\nA=3\n")
    assert str(found) == "line 4: the name was set before, only this line counts, write one line for A"


def test_problems_of_whole_file() -> None:
    found = find_problems(CASE.encode())
    assert [problem.line for problem in found] == [1, 2, 3, 4, 5, 6]
    assert str(found[1]) == 'line 2: a comment needs a line of its own, write T_COMMENT="..."'


def test_line_of_wrong_byte() -> None:
    (found,) = find_problems(b"A=1\n\nB=caf\xe9\n")
    assert found == Problem(3, "a byte that is not UTF-8 text", "the file in UTF-8")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# a comment\n; another one\n\n",
        "A=plain",
        "A=",
        "A= ",
        'A="two words"\n  B=x',
        "A='pa$s\\word # all of it'",
        'A="say \\"hi\\" for \\$5 in C:\\\\dir"',
        'A={"colour": "#fff", "a": 1}',
        "COLOUR=#fff",
        "URL=https://host/#part?a=b",
        "NAME=O'Brien",
        "A=pa$1",
        "# two backslashes \\\\\nA=1",
        "KEY='-----BEGIN KEY-----\nMIIEQw/=abc\nABC=\nQUJD==\n-----END KEY-----'\nA=1",
        "A=über",
    ],
)
def test_plain_lines_pass(text: str) -> None:
    assert misread(text) == []


@pytest.mark.parametrize("key", ["MIIEvQIBADAN-Bgkq", "ab+cd/ef", "x" * 64, "the password is"])
def test_part_of_secret_stays_hidden(key: str) -> None:
    """Lines of a private key without quotes look like names."""
    for text in (key, f"{key}=", f"{key}=="):
        assert key not in " ".join(map(str, misread(text)))


TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]))


@given(TEXT)
def test_spelled_value_round_trip(value: str) -> None:
    line = spell("NAME", value)
    if "a character that is not text" in str(misread(line)):
        return
    assert parse(line) == {"NAME": value}
    assert [problem for problem in misread(line) if "swallows" not in problem.why] == []


LINES = st.lists(st.sampled_from([*"AB=='\"\\ #;$x{}", "\n", "\nC=", "\n\n", "é"])).map("".join)


@given(LINES)
def test_accepted_text_has_one_meaning(text: str) -> None:
    """A text without a problem means the same to python-dotenv, which many apps read their variables with."""
    assume("='" not in text or "\\" not in text)  # Only python-dotenv replaces \\ in single quotes.
    assume(";" not in text and "\\$" not in text)
    if not misread(text):
        assert parse(text) == dotenv_values(stream=io.StringIO(text), interpolate=False)


@given(st.text(alphabet=string.printable + "\ufeff\xa0é"))
def test_any_text_is_read(text: str) -> None:
    parse(text)
    for problem in misread(text):
        assert 1 <= problem.line <= 1 + text.count("\n")


def test_removed_variables() -> None:
    text = "# why\nA='1\n2'\nB=2\nA=3\n\nC=4"
    assert without(text, {"A"}) == "# why\nB=2\n\nC=4"
    assert without(text, {"C", "B"}) == "# why\nA='1\n2'\nA=3\n\n"


_PLAIN = "# About it.\nA=1\n\nB=\"two words\"\n; the last\nC='x'"


def test_changed_line_stays_in_place() -> None:
    assert with_variable(_PLAIN, "B", "$2") == _PLAIN.replace('"two words"', r'"\$2"')
    assert with_variable(_PLAIN, "C", "3") == _PLAIN.replace("'x'", '"3"\n')
    assert with_variable(_PLAIN, "D", "4") == f'{_PLAIN}\nD="4"\n'
    assert with_variable("", "D", "") == 'D=""\n'


@given(st.sampled_from("ABCD"), st.text(max_size=40))
def test_set_variable_is_read_alike(name: str, value: str) -> None:
    """Of a value without a problem, also the other lines are read as before."""
    assume(not value_problems(name, value))
    changed = with_variable(_PLAIN, name, value)
    assert (parse(changed), misread(changed)) == ({**parse(_PLAIN), name: value}, [])


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0b", "\ud800", "\ufffe", "x" * (MAX_BYTES - 1)])
def test_unfit_values_are_named(value: str) -> None:
    [problem] = value_problems("A", value)
    assert value not in problem
    assert value_problems("A", "x" * (MAX_BYTES - 2)) == []


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä", "A\n", f"A={VALUE}"])
def test_unfit_names_are_refused(name: str) -> None:
    [problem] = name_problems(name)
    assert VALUE not in problem
    assert name_problems("_a1") == []
