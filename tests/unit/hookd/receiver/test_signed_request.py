"""A body arrives whole or not at all, and a form gives up exactly the bytes that were put into it."""

import hashlib
import io
import re
import tracemalloc
from urllib.parse import unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookd.receiver import signed_request
from hookd.receiver.errors import Refusal
from hookd.receiver.signed_request import MAX_FORM_BYTES, decode_form
from tests.support.receiver import form_of


class Silent(io.BytesIO):
    """A client that falls silent after what it has sent: the server's read raises what the socket raised."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if not found:
            raise TimeoutError
        return found


class Noted:
    """A socket that remembers its timeout."""

    timeout: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        self.timeout = value


def received(stream: io.BytesIO, length: int) -> bytes:
    """Take in a body and return it, once the pieces that were handed on are seen to be the same."""
    pieces: list[bytes] = []
    with signed_request.read_body(stream, length, pieces.append, None) as spool:
        content = spool.read()
    assert b"".join(pieces) == content
    return content


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        signed_request.PIECE_BYTES - 1,
        signed_request.PIECE_BYTES,
        signed_request.PIECE_BYTES + 1,
        5 * signed_request.PIECE_BYTES,
    ],
)
def test_bodies_are_read_completely(size: int) -> None:
    sent = hashlib.shake_256(b"body").digest(size)
    assert received(io.BytesIO(sent), size) == sent


def test_extra_bytes_are_not_read() -> None:
    stream = io.BytesIO(b"body and more")
    assert received(stream, 4) == b"body"
    assert stream.read() == b" and more"


@pytest.mark.parametrize("client", [io.BytesIO, Silent])
@pytest.mark.parametrize("size", [0, 1, signed_request.PIECE_BYTES])
def test_early_end_is_refused(client: type[io.BytesIO], size: int) -> None:
    with pytest.raises(Refusal) as caught:
        signed_request.read_body(client(b"x" * size), size + 1, lambda _: None, None)
    assert caught.value.status == 408


def test_a_large_body_waits_on_disk() -> None:
    size = 8 * signed_request.PIECE_BYTES
    with signed_request.read_body(io.BytesIO(b"x" * size), size, lambda _: None, None) as spool:
        assert not isinstance(spool._file, io.BytesIO)


@pytest.mark.threat(1)
def test_reads_have_a_timeout() -> None:
    sock = Noted()
    signed_request.read_body(io.BytesIO(b"x"), 1, lambda _: None, sock).close()
    assert sock.timeout is not None
    assert 0 < sock.timeout < signed_request.max_seconds(0)


def test_time_limit_grows_with_length() -> None:
    assert signed_request.max_seconds(0) < signed_request.max_seconds(25 * 1024 * 1024) < 300


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (b"payload=a", b"a"),
        (b"payload=", b""),
        (b"payload=a+b%20c%2Bd", b"a b c+d"),
        (b"payload=a=b", b"a=b"),
        (b"payload=%ff%C3%A9", b"\xff\xc3\xa9"),
        (b"payload=%2541", b"%41"),
        (b"payload=\xff\xc3\xa9", b"\xff\xc3\xa9"),
        (rb"payload=\x41\u0041\n\%41\\%5c", rb"\x41\u0041\n\A\\" + b"\\"),
    ],
)
def test_form_payload_is_decoded(form: bytes, value: bytes) -> None:
    assert decode_form(form) == value


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"payload", id="no value"),
        pytest.param(b"other=1", id="no payload"),
        pytest.param(b"Payload=1", id="upper case"),
        pytest.param(b"%70ayload=1", id="escaped"),
        pytest.param(b"payload=a&payload=a", id="two payloads"),
        pytest.param(b"payload=a&pay%6Coad=b", id="two payloads, one of them hidden"),
        pytest.param(b"other=1&payload=a", id="a field before it"),
        pytest.param(b"payload=a&other=1", id="a field after it"),
        pytest.param(b"payload=a&", id="an empty field after it"),
        pytest.param(b"payload=100%", id="a lone percent sign"),
        pytest.param(b"payload=%4", id="half an escape"),
        pytest.param(b"payload=%zz", id="an escape without digits"),
        pytest.param(b"payload=%%41", id="two percent signs"),
        pytest.param(b"payload=%+1", id="a sign in an escape"),
        pytest.param(b"{}", id="JSON"),
    ],
)
def test_other_forms_are_refused(form: bytes) -> None:
    assert decode_form(form) is None


@given(st.binary(max_size=60).filter(lambda form: not form.startswith(b"payload=")))
def test_random_bytes_are_no_form(form: bytes) -> None:
    assert decode_form(form) is None


@pytest.mark.threat(1)
@pytest.mark.parametrize("piece", [b"%", b"&", b"a", b"+", b"%41", b"%ff", b"\\", b"\xff"])
def test_decoding_takes_little_memory(piece: bytes) -> None:
    form = b"payload=" + piece * (MAX_FORM_BYTES // len(piece))
    tracemalloc.start()
    try:
        decode_form(form)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_FORM_BYTES


@given(st.binary(max_size=2000))
def test_forms_round_trip(value: bytes) -> None:
    assert decode_form(form_of(value)) == value
    assert decode_form(urlencode({"payload": value}).encode()) == value


@given(st.text("%4zFx+\\\n", max_size=12))
def test_decoder_agrees_with_python(text: str) -> None:
    value = None if re.search("%(?![0-9A-Fa-f]{2})", text) else unquote_to_bytes(text.replace("+", " "))
    assert decode_form(b"payload=" + text.encode()) == value
