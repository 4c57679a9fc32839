"""The client in the log: the peer on TCP, nginx's word on a unix socket, and never a byte that is no address."""

import pytest

from hookd.receiver.delivery import client_address


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
