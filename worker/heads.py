"""Reads where a branch points from what `git ls-remote` printed."""

import re
from collections.abc import Iterable
from typing import Final

from hookd.contract.names import COMMIT_PATTERN

_LINE: Final = re.compile(rf"({COMMIT_PATTERN})\t(.+)")


def head_in(lines: Iterable[str], ref: str) -> str | None:
    """Name the commit of a ref; None when it is not there.

    git lists each ref whose name ends so: `refs/heads/a/refs/heads/main` too, and first, for `refs/heads/main`.
    """
    found = filter(None, map(_LINE.fullmatch, lines))
    return next((match[1] for match in found if match[2] == ref), None)
