"""Files of variables and systemd's reading of them, for the tests of hookd's reader and of systemd itself."""

from typing import Final

# None: systemd refuses the file.
READINGS: Final[dict[str, dict[str, str] | None]] = {
    "A=b": {"A": "b"},
    "  A = b c \n\n\tB=": {"A": "b c", "B": ""},
    "A='it''s'": {"A": "its"},
    "A='x' # n\nB=2": {"A": "x# n", "B": "2"},
    "A='x' \\\n y": {"A": "x y"},
    "A=x'y z'": {"A": "x'y z'"},
    "A='a'b'c d' e": {"A": "ab'c d' e"},
    "A='a\\'b": {"A": "a\\b"},
    'A="a\\nb\\$c\\"d\\`e\\\\f\\\ng\\\'h"': {"A": "a\\nb$c\"d`e\\fg\\'h"},
    'A="x': {"A": "x"},
    'A="x\\': {"A": "x"},
    "A='1\n2'\nB=3": {"A": "1\n2", "B": "3"},
    "A=a\\\nb": {"A": "ab"},
    "A=a  \\\n  b  ": {"A": "a    b"},
    "A=a\\ \nB=1": {"A": "a ", "B": "1"},
    "A=a\\\\ \nB=1": {"A": "a\\", "B": "1"},
    "A=\\\n\nB=1": {"A": "", "B": "1"},
    "A=\\'x\\n": {"A": "'xn"},
    "A=x\\": {"A": "x"},
    "A=1\\\r\nB=2": {"A": "1", "B": "2"},
    "A=1\r\nB=2\r\n": {"A": "1", "B": "2"},
    'A="1\r\n2"': {"A": "1\r\n2"},
    "A=1\rB=2": {"A": "1", "B": "2"},
    "A=x#y # z": {"A": "x#y # z"},
    "#A=1\n ;B=2\nC=3": {"C": "3"},
    "# A \\\\\nB=1": {"B": "1"},
    "export A=1\nB=2": {"B": "2"},
    "a-b=1\n1A=2\nA B=3\n=x\n==x\nÄ=1\n_=4": {"_": "4"},
    "A\nB=1": {"B": "1"},
    "A=$HOME ${B} $(id)\nB=1": {"A": "$HOME ${B} $(id)", "B": "1"},
    "A=1\nB=2\nA=3": {"A": "3", "B": "2"},
    "A=\x01\x07\x0b\x7fé\xa0": {"A": "\x01\x07\x0b\x7fé\xa0"},
    "\ufeffA=1\nB=2": {"B": "2"},
    "A=x\0": None,
    "#\0\nA=1": None,
    "A=\ufffe": None,
    "A=\ufdd0": None,
    "\ufffe=1\nB=2": None,
    "#\ufffe\nA=1": {"A": "1"},
}
# Lines that python-dotenv and systemd read differently.
CASE: Final = r"""export T_EXPORT=postgres://one
T_COMMENT=redis://localhost/0 # the cache
T_BACKSLASH=pa\$s\word
T_NEWLINE="line1\nline2"
T_SHELLQUOTE='it''s'
T_CONTINUED=a\
b
T_PLAIN=same
"""
