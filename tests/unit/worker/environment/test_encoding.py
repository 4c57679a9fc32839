"""The encoding of a requirements file is the one that pip finds."""

import pytest

from worker.environment.encoding import decode


@pytest.mark.parametrize(
    "content",
    [
        "fl\u00e4sk\r\n".encode("utf-16"),
        "fl\u00e4sk".encode("utf-32"),
        "\ufefffl\u00e4sk".encode(),
        "# -*- coding: latin-1 -*-\nfl\u00e4sk".encode("latin-1"),
        "fl\u00e4sk".encode("latin-1"),
        "# coding: nonsense\nfl\u00e4sk".encode(),
    ],
)
def test_decode_like_pip(content: bytes) -> None:
    assert "fl\u00e4sk" in decode(content)
