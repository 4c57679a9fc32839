"""The headers that are read for each sender, and signatures that are refused before the comparison."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from hookd.receiver.senders import SENDERS, Sender

DIGITS = "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2"
SHA1 = "c28e33b2e56e548956c446e890929a6cbec3ac89"
ALL = [pytest.param(sender, id=name) for name, sender in SENDERS.items()]


def read(sender: Sender, value: str) -> bytes | None:
    """Read the digest of a signature header."""
    return sender.digest(Headers([(sender.signature, value)]))


def test_header_names() -> None:
    assert {name: (each.event, each.delivery, each.signature) for name, each in SENDERS.items()} == {
        "github": ("X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256"),
        "gitea": ("X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature"),
        "forgejo": ("X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature"),
        "gogs": ("X-Gogs-Event", "X-Gogs-Delivery", "X-Gogs-Signature"),
    }


def test_only_github_signs_form_bytes() -> None:
    assert [name for name, sender in SENDERS.items() if not sender.signs_form_value] == ["github"]


@pytest.mark.parametrize("sender", ALL)
def test_a_well_formed_signature_is_read(sender: Sender) -> None:
    assert read(sender, sender.prefix + DIGITS) == bytes.fromhex(DIGITS)


@pytest.mark.parametrize("sender", ALL)
@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda prefix: "", id="empty"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS.upper()}", id="upper case"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS},{prefix}{DIGITS}", id="repeated header"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS[:-1]}", id="one digit short"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS}0", id="one digit long"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS} ", id="trailing space"),
        pytest.param(lambda prefix: f" {prefix}{DIGITS}", id="leading space"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS[:-1]}g", id="not hexadecimal"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS[:-1]}é", id="not ASCII"),
        pytest.param(lambda prefix: f"{prefix}{DIGITS[:-1]}٣", id="a digit of another script"),
        pytest.param(lambda prefix: f"{prefix}{prefix}{DIGITS}" if prefix else f"sha256={DIGITS}", id="other prefix"),
        pytest.param(lambda prefix: f"sha1={SHA1}", id="SHA-1"),
        pytest.param(lambda prefix: SHA1, id="SHA-1 without prefix"),
        pytest.param(lambda prefix: f"SHA256={DIGITS}", id="prefix in upper case"),
        pytest.param(lambda prefix: f"sha512={DIGITS}{DIGITS}", id="another algorithm"),
    ],
)
def test_a_malformed_signature_is_not_read(sender: Sender, spoilt: Callable[[str], str]) -> None:
    assert read(sender, spoilt(sender.prefix)) is None


def test_github_needs_prefix_and_digits() -> None:
    assert read(SENDERS["github"], "sha256=") is None
    assert read(SENDERS["github"], DIGITS) is None


@pytest.mark.parametrize("sender", ALL)
def test_a_missing_signature_is_not_read(sender: Sender) -> None:
    assert sender.digest(Headers()) is None


@pytest.mark.parametrize("sender", ALL)
def test_other_senders_headers_are_ignored(sender: Sender) -> None:
    others = [(each.signature, each.prefix + DIGITS) for each in SENDERS.values() if each is not sender]
    assert sender.digest(Headers([*others, ("X-Hub-Signature", f"sha256={DIGITS}")])) is None


@given(st.sampled_from(sorted(SENDERS)), st.text(st.characters(max_codepoint=255), max_size=90))
def test_no_other_text_is_a_signature(name: str, text: str) -> None:
    sender = SENDERS[name]
    digest = read(sender, text.replace("\n", "").replace("\r", ""))
    assert digest is None or sender.prefix + digest.hex() == text
