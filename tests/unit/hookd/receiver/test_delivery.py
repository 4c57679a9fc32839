"""A verified event is a push of one branch, ignored or refused. A client is an address, and never another byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookd.model.app import App
from hookd.receiver.delivery import Ignored, Push, classify_event, client_address
from hookd.receiver.errors import Refusal

APP = App.model_validate(
    {
        "name": "shop",
        "repository": "https://git.example.org/acme/shop.git",
        "full_name": "acme/shop",
        "root": "/srv/shop",
        "health": {"url": "http://127.0.0.1:8000/healthz"},
    }
)
OLD, NEW = "1" * 40, "2" * 40
EVENT: dict[str, Any] = {
    "ref": "refs/heads/main",
    "before": OLD,
    "after": NEW,
    "repository": {"full_name": "acme/shop"},
}


@pytest.mark.threat(9)
@pytest.mark.parametrize("claimed", ["", "203.0.113.9", "203.0.113.9, 198.51.100.1"])
def test_tcp_client_is_the_peer(claimed: str) -> None:
    assert client_address({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": claimed}) == "192.0.2.1"


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9,192.0.2.1", "192.0.2.1"),
        ("192.0.2.1,", "-"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "-"),
        ("unknown", "-"),
        ("192.0.2.1:80", "-"),
        ("[2001:db8::1]", "-"),
        ("192.0.2.1 client=198.51.100.1", "-"),
        ("fe80::1%x client=198.51.100.1", "-"),
        ("fe80::1%x\nWARNING hookd.receiver.app refused signature app=shop client=198.51.100.1", "-"),
        ("192.0.2.001", "-"),
        ("٣.0.2.1", "-"),
        ("0x7f000001", "-"),
        ("1", "-"),
    ],
)
def test_client_is_the_last_address(header: str, client: str) -> None:
    for peer in ("", None):
        assert client_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": header}) == client


def test_socket_without_nginx_has_no_client() -> None:
    assert client_address({"REMOTE_ADDR": ""}) == client_address({}) == "-"


@pytest.mark.threat(9)
@pytest.mark.parametrize("peer", ["/run/someone.sock", "\0abstract", "fe80::1%eth0"])
def test_odd_peer_ignores_the_header(peer: str) -> None:
    assert client_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": "192.0.2.1"}) == "-"


def judged(**changes: Any) -> Push | Ignored:
    """Judge a push event with some of its keys changed."""
    return classify_event(APP, "push", json.dumps({**EVENT, **changes}).encode())


def push(**changes: Any) -> Push:
    """Return the push of such an event."""
    return Push.model_validate({**EVENT, **changes})


def refused(payload: bytes, event: str = "push") -> str:
    """Judge what must be refused with 400 and return the reason."""
    with pytest.raises(Refusal) as caught:
        classify_event(APP, event, payload)
    assert caught.value.status == 400
    return caught.value.reason


def outcome(event: str, payload: bytes) -> Push | Ignored | int:
    """Parse an event, and return the status of a refusal."""
    try:
        return classify_event(APP, event, payload)
    except Refusal as error:
        return error.status


def test_the_apps_branch_is_a_push() -> None:
    found = judged()
    assert isinstance(found, Push)
    assert (found.repository, found.ref, found.commit) == ("acme/shop", "refs/heads/main", NEW)


def test_sha256_object_ids_are_a_push() -> None:
    assert judged(before="a" * 64, after="b" * 64) == push(before="a" * 64, after="b" * 64)


def test_a_new_branch_is_a_push() -> None:
    assert judged(before="0" * 40) == push(before="0" * 40)


def test_repository_ignores_case() -> None:
    assert judged(repository={"full_name": "Acme/SHOP"}) == push(repository={"full_name": "Acme/SHOP"})


def test_unknown_keys_are_ignored() -> None:
    assert judged(commits=[{"id": 1}], deleted=False, clone_url="https://evil.example") == push()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ref": "refs/heads/other"}, "another branch, this app deploys main"),
        ({"ref": "refs/heads/main/x"}, "another branch, this app deploys main"),
        ({"ref": "refs/heads/refs/heads/main"}, "another branch, this app deploys main"),
        ({"ref": "main"}, "another branch, this app deploys main"),
        ({"ref": "refs/heads/Main"}, "another branch, this app deploys main"),
        ({"ref": "refs/tags/main"}, "a tag, this app deploys the branch main"),
        ({"after": "0" * 40}, "the branch main was deleted, the release stays"),
        ({"after": "0" * 64, "before": "a" * 64}, "the branch main was deleted, the release stays"),
        ({"before": NEW}, "a test delivery, the branch did not move"),
        ({"repository": {"full_name": "acme/shop2"}}, "another repository, this app is acme/shop"),
        ({"repository": {"full_name": "evil/acme/shop"}}, "another repository, this app is acme/shop"),
    ],
)
def test_other_pushes_are_ignored(changes: dict[str, Any], reason: str) -> None:
    assert judged(**changes) == Ignored(reason, push=push(**changes))


def test_repository_is_checked_before_branch() -> None:
    verdict = judged(repository={"full_name": "acme/other"}, after="0" * 40)
    assert isinstance(verdict, Ignored)
    assert verdict.reason == "another repository, this app is acme/shop"


@pytest.mark.parametrize("event", ["create", "delete", "issues", "push ", "PUSH", "p" * 500])
def test_another_event_is_ignored_and_named(event: str) -> None:
    verdict = classify_event(APP, event, b"{}")
    assert verdict == Ignored(f"the event is {event[:64]!r}, not a push")


def test_unnamed_event_is_ignored() -> None:
    assert classify_event(APP, "", b"{}") == Ignored("the request names no event")


def test_a_ping_is_answered_with_pong() -> None:
    assert classify_event(APP, "ping", b'{"zen": "..."}') == Ignored("the webhook is set up", status="pong")


@pytest.mark.threat(7)
@pytest.mark.parametrize("event", ["push", "ping", "create"])
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"payload", id="no JSON"),
        pytest.param(b'{"ref": ', id="torn"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep nesting of lists"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="deep nesting of objects"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(rb'{"a": "\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"a": "\xff"}', id="no UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="a byte order mark"),
        pytest.param(b'{"a": "\n"}', id="a control character"),
    ],
)
def test_only_json_objects_are_accepted(event: str, payload: bytes) -> None:
    assert refused(payload, event)


@pytest.mark.parametrize("key", ["ref", "before", "after", "repository"])
def test_a_missing_key_is_named(key: str) -> None:
    payload = json.dumps({name: value for name, value in EVENT.items() if name != key}).encode()
    assert refused(payload) == f"{'repository.full_name' if key == 'repository' else key}: Field required"


@pytest.mark.parametrize("key", ["ref", "before", "after", "repository"])
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "", [], ["x"], {}, {"full_name": 1}, float("nan"), "é" * 5000])
def test_keys_of_wrong_type_are_refused(key: str, value: Any) -> None:
    assert refused(json.dumps({**EVENT, key: value}).encode()).startswith(key)


@pytest.mark.parametrize("key", ["before", "after"])
@pytest.mark.parametrize(
    "value", ["2" * 39, "2" * 41, "2" * 63, "2" * 65, "A" * 40, "g" * 40, "2" * 40 + "\n", " " + "2" * 40, "--x"]
)
def test_invalid_object_ids_are_refused(key: str, value: str) -> None:
    assert refused(json.dumps({**EVENT, key: value}).encode()).startswith(key)


def test_refusals_do_not_echo_input() -> None:
    assert "<script>" not in refused(json.dumps({**EVENT, "after": "<script>"}).encode())


@pytest.mark.threat(7)
@given(st.binary(max_size=200), st.text(max_size=20))
def test_random_bytes_are_never_a_push(payload: bytes, event: str) -> None:
    found = outcome(event, payload)
    assert found == 400 or isinstance(found, Ignored)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(EVENT)), JSON_VALUES, min_size=1))
def test_replaced_keys_are_no_push(changes: dict[str, Any]) -> None:
    found = outcome("push", json.dumps({**EVENT, **changes}).encode())
    assert found == 400 or isinstance(found, Ignored)
