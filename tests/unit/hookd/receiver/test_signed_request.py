"""A body arrives whole or not at all, and a form gives up exactly the bytes that were put into it."""

import hashlib
import io
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookd.receiver import signed_request
from hookd.receiver.errors import Refusal
from tests.support.receiver import form_of


def form_value(form: io.BytesIO) -> bytes:
    """Decode a form's payload."""
    return b"".join(signed_request.form_pieces(form))


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
        (b"payload=100%", b"100%"),
        (b"payload=%4", b"%4"),
        (b"payload=%zz", b"%zz"),
    ],
)
def test_form_payload_is_decoded(form: bytes, value: bytes) -> None:
    assert form_value(io.BytesIO(form)) == value


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
        pytest.param(b"payload=" + b"x" * signed_request.FORM_PIECE_BYTES * 2 + b"&", id="a field after a long one"),
        pytest.param(b"{}", id="JSON"),
    ],
)
def test_other_forms_are_refused(form: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        form_value(io.BytesIO(form))
    assert caught.value.status == 400


@pytest.mark.parametrize("shift", range(4))
def test_escapes_survive_piece_borders(shift: int) -> None:
    value = b"x" * shift + bytes(range(256)) * 600
    assert form_value(io.BytesIO(b"payload=" + quote_from_bytes(value, safe="").encode())) == value


@given(st.binary(max_size=60).filter(lambda form: not form.startswith(b"payload=")))
def test_random_bytes_are_no_form(form: bytes) -> None:
    with pytest.raises(Refusal):
        form_value(io.BytesIO(form))


@pytest.mark.parametrize("byte", [b"%", b"&", b"a", b"%41"])
def test_a_form_is_never_held_whole(byte: bytes) -> None:
    form = io.BytesIO(b"payload=" + byte * (8 * signed_request.FORM_PIECE_BYTES))
    pieces = signed_request.form_pieces(form)
    try:
        assert max(len(piece) for piece in pieces) <= signed_request.FORM_PIECE_BYTES + 2
    except Refusal:
        assert form.tell() <= signed_request.FORM_PIECE_BYTES + 8


@given(st.binary(max_size=2000))
def test_forms_round_trip(value: bytes) -> None:
    assert form_value(io.BytesIO(form_of(value))) == value
    assert form_value(io.BytesIO(urlencode({"payload": value}).encode())) == value


@given(st.text("%4zF+", max_size=12), st.integers(0, 8))
def test_piece_borders_change_nothing(text: str, back: int) -> None:
    encoded = b"x" * (signed_request.FORM_PIECE_BYTES - back) + text.encode()
    assert form_value(io.BytesIO(b"payload=" + encoded)) == unquote_to_bytes(encoded.replace(b"+", b" "))
