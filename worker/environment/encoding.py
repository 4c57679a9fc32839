"""The encoding of a requirements file, as pip finds it: a mark at its begin, a comment, or else UTF-8 or Latin-1."""

import codecs
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from typing import Final

# punycode takes the square of a text's length, and unicode_escape makes any character.
_ENCODINGS: Final = re.compile(r"utf-8|ascii|iso8859-\d+|cp\d+|koi8-[ru]")
_CODING: Final = re.compile(rb"coding[:=]\s*([-\w.]+)")
# The longest first, because that of UTF-32 starts with that of UTF-16.
_MARKS: Final = (
    (BOM_UTF8, "utf-8"),
    (BOM_UTF32_LE, "utf-32-le"),
    (BOM_UTF32_BE, "utf-32-be"),
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
)


def decode(content: bytes) -> str:
    """Return the text of a requirements file: by its byte order mark, its coding comment, as UTF-8 or as Latin-1."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    for line in content.split(b"\n")[:2]:
        if line.startswith(b"#") and (named := _CODING.search(line)):
            try:
                encoding = codecs.lookup(named[1].decode("ascii")).name
                return content.decode(encoding if _ENCODINGS.fullmatch(encoding) else "utf-8")
            except (LookupError, UnicodeDecodeError):
                break
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
