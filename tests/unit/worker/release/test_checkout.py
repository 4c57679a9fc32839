"""Relative addresses of submodules, as `git submodule` resolves them."""

import pytest

from worker.release.checkout import relative_address


@pytest.mark.parametrize(
    ("base", "written", "address"),
    [
        ("git@git.example.org:acme/shop.git", "../theme.git", "git@git.example.org:acme/theme.git"),
        ("git@git.example.org:acme/shop.git", "../../other/theme.git", "git@git.example.org:other/theme.git"),
        ("git@git.example.org:shop.git", "../theme.git", "git@git.example.org:theme.git"),
        ("https://git.example.org/acme/shop", "../theme", "https://git.example.org/acme/theme"),
        ("https://git.example.org/acme/shop/", "./theme/", "https://git.example.org/acme/shop/theme"),
        ("https://git.example.org/acme/shop", "https://else.example.org/t", "https://else.example.org/t"),
        ("file:///srv/git/shop.git", "../theme.git", "file:///srv/git/theme.git"),
    ],
)
def test_relative_address(base: str, written: str, address: str) -> None:
    assert relative_address(base, written) == address


@pytest.mark.threat(60)
def test_long_address() -> None:
    with pytest.raises(ValueError, match="\\.\\./"):
        relative_address("https://git.example.org/acme/shop", "../" * 200_000 + "theme")
