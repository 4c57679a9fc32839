"""A real nginx with the rendered sites."""

import datetime
import re
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.nginx import Sites, echo
from tests.support.rendered import ADOPTED, BLOG, HOST, NEW_HOST, SHOP
from units.system.nginx_config import server_names

DEPLOY = "deploy.example.org"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Return a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ngx-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def site(directory: Path) -> Iterator[Sites]:
    """The sites of the receiver and of two apps, with answering services."""
    sites = Sites(directory)
    sites.write(HOST, SHOP, BLOG)
    with (
        echo(directory / "hookd" / "receiver.sock"),
        echo(directory / "hookd-apps" / "shop.sock"),
        sites.served(),
    ):
        yield sites


def test_nginx_accepts_http_sites(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    sites.write(HOST, SHOP, BLOG, ADOPTED)
    assert sites.check() == ""
    (tmp_path / "sites" / "hookd").write_text(
        (tmp_path / "sites" / "hookd").read_text().replace("deny all;", "deny all")
    )
    assert sites.check() != ""


def test_server_names_of_a_real_nginx(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    sites.write(HOST, SHOP, BLOG, ADOPTED)
    domains = {app.site.domain for app in (SHOP, BLOG, ADOPTED)} | {HOST.domain}
    names = server_names(sites.printed())
    assert names == domains - {None}
    assert names - server_names(sites.printed(), without="hookd-shop") == {SHOP.site.domain}


def test_nginx_serves_the_certificate(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    sites.write(NEW_HOST, SHOP, BLOG)
    assert "cannot load certificate" in sites.check()
    for domain in NEW_HOST.certificates:
        make_certificate(tmp_path / "certificates" / domain, domain)
    assert sites.check() == ""
    with sites.served():
        status, _, headers = sites.ask("GET", "/healthz?a=b", DEPLOY)
        assert (status, headers["Location"]) == (301, f"https://{DEPLOY}/healthz?a=b")
        context = ssl.create_default_context(cafile=tmp_path / "certificates" / DEPLOY / "fullchain.pem")
        with (
            socket.create_connection(("127.0.0.1", sites.tls_port), 10) as plain,
            context.wrap_socket(plain, server_hostname=DEPLOY) as encrypted,
        ):
            assert encrypted.version() in ("TLSv1.2", "TLSv1.3")


def make_certificate(directory: Path, domain: str) -> None:
    """Make a self-signed certificate in certbot's place."""
    directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (directory / "privkey.pem").write_bytes(pem)


@pytest.mark.parametrize("path", ["/hooks/shop", "/hooks/a-b", f"/hooks/a{'1' * 31}"])
def test_a_push_comes_through_whole(site: Sites, path: str) -> None:
    status, text, _ = site.ask("POST", path, DEPLOY, body=b"x" * 300_000)
    assert (status, text.split("\n")[0]) == (200, f"POST {path} 300000")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hooks/shop", 403),
        ("PUT", "/hooks/shop", 403),
        ("POST", "/hooks/Shop", 404),
        ("POST", "/hooks/shop/", 404),
        ("POST", "/hooks/shop/x", 404),
        ("POST", "/hooks/", 404),
        ("POST", f"/hooks/a{'1' * 32}", 404),
        ("POST", "/hooks/%0ashop", 404),
        ("POST", "/hooks/shop%0a", 404),
        ("GET", "/", 404),
        ("GET", "/admin", 404),
        ("POST", "/apps", 403),
        ("DELETE", "/deployments/x", 403),
        ("GET", "/appsx", 404),
    ],
)
def test_everything_else_ends_at_nginx(site: Sites, method: str, path: str, status: int) -> None:
    assert site.ask(method, path, DEPLOY)[0] == status


@pytest.mark.parametrize("path", ["/apps", "/apps/shop", "/deployments/x/log", "/healthz", "/readyz"])
def test_status_pages_can_be_read(site: Sites, path: str) -> None:
    assert site.ask("GET", path, DEPLOY)[1].startswith(f"GET {path} 0\n")
    assert site.ask("HEAD", path, DEPLOY)[0] == 200


@pytest.mark.threat(9)
@pytest.mark.parametrize(("host", "path"), [(DEPLOY, "/healthz"), ("shop.example.org", "/")])
def test_client_cannot_forge_its_address(site: Sites, host: str, path: str) -> None:
    lie = {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "https"}
    text = site.ask("GET", path, host, lie)[1]
    assert re.findall(r"(?mi)^X-Forwarded-For: (.*)$", text) == ["127.0.0.1"]
    assert re.findall(r"(?mi)^X-Forwarded-Proto: (.*)$", text) == ["http"]
    assert re.findall(r"(?mi)^Host: (.*)$", text) == [host]


@pytest.mark.threat(1)
def test_payload_limit_fits_github(site: Sites) -> None:
    assert site.ask("POST", "/hooks/shop", DEPLOY, body=b"x" * (25 * MIB))[0] == 200
    with socket.create_connection(("127.0.0.1", site.port), 10) as sender:
        head = f"POST /hooks/shop HTTP/1.1\r\nHost: {DEPLOY}\r\nContent-Length: {25 * MIB + 1}\r\n\r\n"
        sender.sendall(head.encode())
        assert sender.recv(100).startswith(b"HTTP/1.1 413 ")


def test_chunked_body_gets_a_length(site: Sites) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 10) as sender:
        head = f"POST /hooks/shop HTTP/1.1\r\nHost: {DEPLOY}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        sender.sendall(head.encode() + b"5\r\nhello\r\n0\r\n\r\n")
        answer = b"".join(iter(lambda: sender.recv(4096), b""))
    assert b"POST /hooks/shop 5" in answer


def test_certbots_proof_is_shown(site: Sites) -> None:
    proof = site.directory / "acme" / ".well-known" / "acme-challenge" / "token"
    proof.parent.mkdir(parents=True)
    proof.write_text("proof")
    for host in (DEPLOY, "shop.example.org"):
        assert site.ask("GET", "/.well-known/acme-challenge/token", host)[:2] == (200, "proof")


def test_app_body_limit(site: Sites) -> None:
    assert site.ask("PUT", "/any/path?x=y", "shop.example.org", body=b"z" * 10)[1].startswith("PUT /any/path?x=y 10\n")
    assert site.ask("POST", "/", "shop.example.org", body=b"x" * (10 * MIB))[0] == 200
    assert site.ask("POST", "/", "shop.example.org", body=b"x" * (10 * MIB + 1))[0] == 413


@pytest.mark.threat(54)
def test_burst_passes_flood_gets_429(directory: Path) -> None:
    sites = Sites(directory / "flood")
    sites.directory.mkdir()
    sites.write(HOST)
    with echo(sites.directory / "hookd" / "receiver.sock"), sites.served():
        answers = [sites.ask("POST", "/hooks/shop", DEPLOY, body=b"{}")[0] for _ in range(300)]
    assert answers[:100] == [200] * 100
    assert 429 in answers
    assert set(answers) == {200, 429}


@pytest.mark.threat(8)
def test_one_address_cannot_hold_every_connection(directory: Path) -> None:
    """Open requests that announce a body and send nothing of it."""
    sites = Sites(directory / "slow")
    sites.directory.mkdir()
    sites.write(HOST)
    head = f"POST /hooks/shop HTTP/1.1\r\nHost: {DEPLOY}\r\nContent-Length: 100\r\n\r\nabc".encode()
    with echo(sites.directory / "hookd" / "receiver.sock"), sites.served():
        held = [socket.create_connection(("127.0.0.1", sites.port), 10) for _ in range(40)]
        for sender in held:
            sender.sendall(head)
        refused = [sender for sender in held if answers_within(sender, 0.5)]
        assert len(refused) == 8
        assert {sender.recv(12) for sender in refused} == {b"HTTP/1.1 503"}
        for sender in held:
            sender.close()


def answers_within(sender: socket.socket, seconds: float) -> bool:
    sender.settimeout(seconds)
    try:
        return bool(sender.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
