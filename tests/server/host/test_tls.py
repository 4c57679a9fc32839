"""HTTPS by itself on a real server: certbot, a test authority, nginx and visitors."""

import ssl
import tomllib
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.support.server.acme import OTHER_HTTP_PORT, Authority, authority
from tests.support.server.machine import Machine
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, set_up_layer
from tests.support.server.unchanged import unchanged
from tests.support.server.visitors import visitors
from tests.support.server.web import ask

MAIL = "ops@example.org"
BLOG = "blog.example.org"
# Shows what nginx told the app.
HEADERS = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_FOR", "HTTP_HOST")
    return [" ".join(environ.get(name, "-") for name in names).encode()]
"""


def _with_apps(machine: Machine) -> None:
    authority(machine)
    Shop(machine).add("--handover", "blue-green")


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with a deployed app, an authority, and without certbot."""
    layer: Layer = servers.layer("shop and authority", _with_apps, on=set_up_layer(servers))
    with servers.start(layer) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


@pytest.fixture(scope="module")
def acme(shop: Shop) -> Authority:
    return Authority(shop.machine)


def certificate(machine: Machine, domain: str) -> x509.Certificate:
    """Return the certificate that nginx shows for a domain."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with machine.socket() as plain:
        plain.connect(("127.0.0.1", 443))
        with context.wrap_socket(plain, server_hostname=domain) as encrypted:
            assert encrypted.version() in ("TLSv1.2", "TLSv1.3")
            return x509.load_der_x509_certificate(encrypted.getpeercert(binary_form=True) or b"")


def names(found: x509.Certificate) -> list[str]:
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_root_must_agree_to_certbot(shop: Shop) -> None:
    with unchanged(shop.machine):
        refused = shop.machine.run("hookd", "setup", "--tls", MAIL, check=False, input="n\n")
        assert refused.returncode != 0 and "certbot" in refused.stdout
        bad = shop.machine.run("hookd", "setup", "--tls", "--help@x", check=False)
        assert bad.returncode == 2 and "--tls" in bad.stderr


def test_setup_obtains_certificates(shop: Shop) -> None:
    printed = shop.hookd("setup", "--tls", MAIL, "--yes")
    for domain in (RECEIVER_DOMAIN, shop.domain):
        assert f"certificate for {domain}" in printed
        found = certificate(shop.machine, domain)
        assert names(found) == [domain] and "Pebble" in found.issuer.rfc4514_string()
        answer = ask(shop.machine, domain, "/healthz")
        assert (answer.status, answer.headers["Location"]) == (301, f"https://{domain}/healthz")
        shop.machine.write("/var/www/hookd-acme/.well-known/acme-challenge/proof", "proof")
        assert ask(shop.machine, domain, "/.well-known/acme-challenge/proof").text == "proof"
    assert ask(shop.machine, shop.domain, port=443).text == "v1"
    settings = tomllib.loads(shop.machine.read("/etc/hookd/hookd.toml"))
    assert settings["receiver"]["public_url"] == f"https://{RECEIVER_DOMAIN}"
    assert settings["tls"]["mail"] == MAIL


def test_setup_again_changes_nothing(shop: Shop) -> None:
    with unchanged(shop.machine):
        assert "nothing to change" in shop.hookd("setup")


def test_only_root_reads_account_and_keys(shop: Shop) -> None:
    find = "find /etc/letsencrypt/accounts /etc/letsencrypt/archive -type f -name '*key*' -printf '%U %m %p\\n'"
    found = [line.split(" ", 2) for line in shop.machine.shell(find).splitlines()]
    assert len(found) >= 3 and {(owner, mode[-2:]) for owner, mode, _ in found} <= {("0", "00")}
    for user in ("www-data", "manager", "hookd"):
        assert shop.machine.run("ls", "/etc/letsencrypt/live", user=user, check=False).returncode != 0
        proof = "/var/www/hookd-acme/.well-known/acme-challenge/mine"
        assert shop.machine.run("touch", proof, user=user, check=False).returncode != 0


def test_added_app_gets_its_certificate(shop: Shop) -> None:
    blog = Shop(shop.machine, "blog")
    printed = blog.add("--handover", "restart")
    assert f"certificate for {BLOG}" in printed
    assert f"certificate for {RECEIVER_DOMAIN}" not in printed
    assert f"webhook URL   https://{RECEIVER_DOMAIN}/hooks/blog" in printed
    assert names(certificate(shop.machine, BLOG)) == [BLOG]
    blog.commit("headers", {"wsgi.py": HEADERS})
    blog.hookd("deploy", "blog")
    told = ask(shop.machine, BLOG, port=443, headers={"X-Forwarded-Proto": "http", "X-Forwarded-For": "192.0.2.1"})
    assert told.text == f"https 127.0.0.1 {BLOG}"


def test_opt_out_stays_at_http(shop: Shop) -> None:
    plain = Shop(shop.machine, "plain")
    assert "certificate for" not in plain.add("--handover", "restart", "--no-tls")
    assert plain.page() == "v1"


def test_renewal_drops_no_request(shop: Shop) -> None:
    before = certificate(shop.machine, shop.domain).serial_number
    with visitors(shop.machine, "plain.example.org", per_second=50) as crowd:
        shop.machine.run("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew", "--quiet")
        shop.machine.wait_until(
            lambda: certificate(shop.machine, shop.domain).serial_number != before, 20, "the new certificate"
        )
    assert not crowd.failures, crowd.failures[:5]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("dns", "DNS knows no address of"),
        ("connection", "nothing answers at port 80 of"),
        ("unauthorized", "another server answers at"),
        ("rate limit", "the authority has a rate limit for"),
    ],
)
def test_failure_is_said_and_tried_again(shop: Shop, acme: Authority, kind: str, cause: str) -> None:
    domain = f"{kind.replace(' ', '-')}.example.org"
    acme.use({"dns": "", "rate limit": "busy"}.get(kind, "closed"))
    if kind == "dns":
        acme.forget_name(domain)
    if kind == "unauthorized":
        server = ("python3", "-m", "http.server", "--directory", "/mnt", str(OTHER_HTTP_PORT))
        shop.machine.run("systemd-run", "--unit=elsewhere", *server)
        request = ("curl", "-sS", f"http://127.0.0.1:{OTHER_HTTP_PORT}/")
        shop.machine.wait_until(lambda: shop.machine.run(*request, check=False).returncode == 0, 20, "the other server")
    changed = shop.machine.run(
        "hookd", "app", "edit", "plain", "--set", f"site.domain={domain}", "--set", "site.tls=true"
    )
    assert f"{cause} {domain}" in changed.stdout and "next: sudo hookd certify" in changed.stdout
    assert ask(shop.machine, domain).text == "v1"
    assert f"{cause} {domain}" in shop.machine.run("hookd", "doctor", "plain", check=False).stdout
    assert shop.machine.run("hookd", "certify", check=False).returncode == 1
    acme.use()
    acme.know_name(domain)
    shop.machine.run("systemctl", "start", "certbot.service")  # As its timer does.
    shop.machine.wait_until(lambda: names(certificate(shop.machine, domain)) == [domain], 20, "the reload of nginx")
    assert ask(shop.machine, domain, port=443).text == "v1"
    assert cause not in shop.machine.run("hookd", "doctor", "plain", check=False).stdout


def test_removal_names_the_certificate(shop: Shop) -> None:
    printed = shop.hookd("app", "remove", "blog", "--yes")
    assert f"stays: /etc/letsencrypt/live/{BLOG}" in printed
