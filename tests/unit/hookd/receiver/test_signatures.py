"""Signatures that are not even compared, HMAC-SHA256 against published vectors, and every way not to fit."""

import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from hookd.credentials import Secret
from hookd.model.git_hosts import GitHost
from hookd.receiver import signed_request
from hookd.receiver.signed_request import Verifier, decode_form, read_digest

EVERYBODY = b"It's a Secret to Everybody"
JSON = b'{"ref":"refs/heads/main"}'
FORM = b"payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D"

# Published: GitHub "Validating webhook deliveries"; gidgethub tests/test_sansio.py; adnanh/webhook hook_test.go.
PUBLISHED = [
    (EVERYBODY, b"Hello, World!", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    (b"123456", b"gidget", "091319196718d5bcb1c20ad25fc890597423ecdbad1f947f560afd643b5000de"),
    (b"123456", b'{"action": "opened"}', "0340d06469a1b35662ebd7a67ea2c0c328239f319f1cfafb221451de629e0430"),
    (b"secret", b'{"a": "z"}', "f417af3a21bd70379b5796d5f013915e7029f62c580fb0f500f59a35a6f04c89"),
    (b"secret", b"", "f9e66e179b6747ae54108f82f8ade8b3c25d76fd30afde6c395822c530196169"),
]
# Worked out from the published algorithm for bodies of other kinds.
DERIVED = [
    (EVERYBODY, JSON, "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2"),
    (EVERYBODY, FORM, "720493f557150a271b7cfdd9904c5fe4697f30c44588f8b452d36abc47b8796c"),
    (EVERYBODY, '{"msg":"naïve ☃"}'.encode(), "740b9da02459ebf0694de9940e3d8be7b7a9ecfd2edc882c2d7ec7975f8693f9"),
    (EVERYBODY, b"", "66a0c074deaa0f489ead6537e0d32f9a344b90bbeda705b6ed45ecd3b413fb40"),
]


DIGITS = "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2"
SHA1 = "c28e33b2e56e548956c446e890929a6cbec3ac89"


def read(host: GitHost, value: str) -> bytes | None:
    """Read the digest of a signature header."""
    return read_digest(Headers([(host.signature, value)]), host)


def accepts(secrets: list[bytes], body: bytes, digest: bytes | None) -> bool:
    """Verify a body in one piece."""
    verifier = Verifier([Secret(secret) for secret in secrets])
    verifier.update(body)
    return verifier.accepts(digest)


@pytest.mark.parametrize(("secret", "body", "digest"), PUBLISHED + DERIVED)
def test_published_vectors_are_accepted(secret: bytes, body: bytes, digest: str) -> None:
    assert accepts([secret], body, bytes.fromhex(digest))


@pytest.mark.parametrize(("secret", "body", "digest"), PUBLISHED + DERIVED)
def test_no_vector_fits_another_secret(secret: bytes, body: bytes, digest: str) -> None:
    assert not accepts([secret + b"x"], body, bytes.fromhex(digest))


def test_form_signatures_of_gitea_and_github() -> None:
    over_json, over_bytes = (bytes.fromhex(digest) for _, _, digest in DERIVED[:2])
    assert accepts([EVERYBODY], decode_form(FORM) or b"", over_json)
    assert accepts([EVERYBODY], FORM, over_bytes)
    assert not accepts([EVERYBODY], FORM, over_json)


def test_pieces_sign_like_the_whole() -> None:
    verifier = Verifier([Secret(EVERYBODY)])
    for byte in JSON:
        verifier.update(bytes([byte]))
    assert verifier.accepts(bytes.fromhex(DERIVED[0][2]))


@pytest.mark.parametrize("secrets", [[EVERYBODY, b"another"], [b"another", EVERYBODY]])
def test_during_a_rotation_either_secret_fits(secrets: list[bytes]) -> None:
    assert accepts(secrets, JSON, bytes.fromhex(DERIVED[0][2]))


@pytest.mark.threat(2)
@pytest.mark.parametrize("secrets", [[], [EVERYBODY]])
def test_stand_in_secret_does_not_fit(secrets: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_request, "_STAND_IN", Secret(b"a stand-in"))
    assert not accepts(secrets, JSON, hmac.digest(b"a stand-in", JSON, "sha256"))


@pytest.mark.threat(3)
def test_a_third_secret_does_not_fit() -> None:
    assert not accepts([b"one", b"two"], JSON, bytes.fromhex(DERIVED[0][2]))


def test_nothing_fits_an_app_without_secrets() -> None:
    empty_key = bytes.fromhex("70f408f0cf4971860f1ae76a84a59fed54c23b666a5c1069573bd17b46168283")
    assert not accepts([], JSON, empty_key)


def test_missing_digest_is_refused() -> None:
    assert not accepts([EVERYBODY], JSON, None)


@pytest.mark.parametrize("cut", [0, 1, 31, 33])
def test_digest_length_is_checked(cut: int) -> None:
    right = bytes.fromhex(DERIVED[0][2])
    assert not accepts([EVERYBODY], JSON, (right + b"\0")[:cut])


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=80), st.binary(max_size=40))
def test_only_the_exact_digest_fits(body: bytes, secret: bytes, digest: bytes) -> None:
    right = hmac.digest(secret, body, "sha256")
    assert accepts([secret], body, right)
    assert accepts([secret], body, digest) == (digest == right)


@pytest.mark.threat(3)
@given(st.integers(0, 255))
def test_one_wrong_bit_is_refused(bit: int) -> None:
    right = int(DERIVED[0][2], 16)
    assert not accepts([EVERYBODY], JSON, (right ^ (1 << bit)).to_bytes(32, "big"))


@pytest.mark.parametrize("host", GitHost)
def test_a_well_formed_signature_is_read(host: GitHost) -> None:
    assert read(host, host.prefix + DIGITS) == bytes.fromhex(DIGITS)


@pytest.mark.parametrize("host", GitHost)
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
def test_a_malformed_signature_is_not_read(host: GitHost, spoilt: Callable[[str], str]) -> None:
    assert read(host, spoilt(host.prefix)) is None


def test_github_needs_prefix_and_digits() -> None:
    assert read(GitHost.GITHUB, "sha256=") is None
    assert read(GitHost.GITHUB, DIGITS) is None


@pytest.mark.parametrize("host", GitHost)
def test_a_missing_signature_is_not_read(host: GitHost) -> None:
    assert read_digest(Headers(), host) is None


@pytest.mark.parametrize("host", GitHost)
def test_other_senders_headers_are_ignored(host: GitHost) -> None:
    others = [(each.signature, each.prefix + DIGITS) for each in GitHost if each is not host]
    assert read_digest(Headers([*others, ("X-Hub-Signature", f"sha256={DIGITS}")]), host) is None


@given(st.sampled_from(GitHost), st.text(st.characters(max_codepoint=255), max_size=90))
def test_no_other_text_is_a_signature(host: GitHost, text: str) -> None:
    digest = read(host, text.replace("\n", "").replace("\r", ""))
    assert digest is None or host.prefix + digest.hex() == text
