"""Credentials are not readable in a log."""

import pytest

from worker.report.log import MASK, Redaction

ENVIRONMENT = {
    "SECRET_KEY": "s3cret-value",
    "DATABASE_URL": "postgres://shop@db/shop",
    "GREETING": "hello world",
    "API_TOKEN": "abc",
    "LONG_TOKEN": "s3cret-value-and-more",
}


@pytest.mark.threat(21)
@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "API_TOKEN", "DB_PASSWORD", "SMTP_PASS", "SENTRY_DSN", "URL", "MY_URL", "AUTH"]
)
def test_secret_variable_is_masked(name: str) -> None:
    masks = Redaction({name: "canary.(value)+"})
    assert masks.apply("before canary.(value)+ after") == f"before {MASK} after"


@pytest.mark.threat(21)
@pytest.mark.parametrize("cut", "#/?")
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_cut_proxy_password_is_masked(scheme: str, cut: str) -> None:
    """curl takes the text before such a character for the address, and prints it in its message."""
    masks = Redaction({"HTTPS_PROXY": f"{scheme}ada:can{cut}ary@proxy:3128"})
    assert masks.apply("Unsupported proxy syntax in 'ada:can'") == f"Unsupported proxy syntax in '{MASK}'"
    assert masks.apply("Could not resolve proxy: proxy") == "Could not resolve proxy: proxy"


@pytest.mark.parametrize("value", ["http://proxy:3128", "ada@example.org", "ssh://deploy@host/shop.git", "10:30"])
def test_address_without_password_stays(value: str) -> None:
    text = "deploy to proxy:3128 by ada at 10:30"
    assert Redaction({"HTTPS_PROXY": value}).apply(text) == text


def test_ordinary_value_stays() -> None:
    assert Redaction(ENVIRONMENT).apply("it says hello world") == "it says hello world"


@pytest.mark.parametrize(
    ("value", "is_masked"),
    [
        ("q7Zr2mLx9TbV4kWd", True),
        ("postgresql-primary", False),
        ("/var/lib/shop/2024", False),
        ("shop-2.example.org", False),
    ],
)
def test_random_value_is_masked(value: str, is_masked: bool) -> None:
    """The name of its variable tells nothing."""
    assert (Redaction({"PLAIN": value}).apply(f"it is {value}") == f"it is {MASK}") is is_masked


def test_short_value_masks_nothing() -> None:
    assert Redaction(ENVIRONMENT).apply("abcdef") == "abcdef"


def test_longer_secret_is_masked_first() -> None:
    assert Redaction(ENVIRONMENT).apply("key=s3cret-value-and-more") == f"key={MASK}"


def test_each_secret_line_is_redacted() -> None:
    masks = Redaction({"PRIVATE_KEY": "-----BEGIN KEY-----\nMIIEcanary\n-----END KEY-----\n"})
    assert masks.apply("MIIEcanary") == MASK


@pytest.mark.parametrize(
    ("text", "canary"),
    [
        ("https://ada:canary@host/repo.git", "canary"),
        ("https://canary@host/repo.git", "canary"),
        ("https://ada:p@canary@host/repo.git", "canary"),
        ("postgresql+psycopg://shop:canary@db:5432/shop", "canary"),
        ("GET https://host/x?token=canary&y=1", "canary"),
        ("GET https://host/x?y=1&token=canary", "canary"),
        ("https://host/x?access_token=canary", "canary"),
        ("https://host/x?private_token=canary", "canary"),
        ("Authorization: Basic canary", "canary"),
        ("authorization: canary", "canary"),
        ("> AUTHORIZATION: Bearer canary", "canary"),
        ("using bearer canary", "canary"),
    ],
)
def test_credential_shapes_are_masked(text: str, canary: str) -> None:
    masked = Redaction({}).apply(text)
    assert canary not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "https://host/path",
        "Installed 3 packages in 12ms",
        "mail ada@example.org",
        "https://host/@scope/package",
        "git@host:owner/name.git",
    ],
)
def test_line_without_credentials_stays(text: str) -> None:
    assert Redaction({}).apply(text) == text
