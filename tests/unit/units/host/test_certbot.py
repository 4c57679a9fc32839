"""certbot's command, and the reasons in its output."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.rendered import BARE_HOST, BLOG, HOST, NEW_HOST, SHOP, make_entry
from units.host.certbot import missing_domains, obtain_command, read_refusal

NOW = datetime(2026, 5, 1, tzinfo=UTC)
# As certbot 2.1 and 4.0 print it.
FAILED = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for shop.example.org

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: shop.example.org
  Type:   {kind}
  Detail: {detail}

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile for more details.
"""
REFUSED = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
{text}
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile for more details.
"""


@pytest.mark.parametrize(
    ("output", "kind", "said"),
    [
        (
            FAILED.format(kind="dns", detail="DNS problem: NXDOMAIN looking up A for shop.example.org"),
            "dns",
            "DNS knows no address of shop.example.org: DNS problem: NXDOMAIN",
        ),
        (
            FAILED.format(kind="connection", detail="Get http://…: dial tcp: lookup shop.example.org: no such host"),
            "dns",
            "DNS knows no address of shop.example.org: Get http",
        ),
        (
            FAILED.format(kind="connection", detail="192.0.2.7: Fetching http://…: Timeout during connect"),
            "connection",
            "nothing answers at port 80 of shop.example.org: 192.0.2.7: Fetching",
        ),
        (
            FAILED.format(kind="unauthorized", detail="192.0.2.7: Invalid response from http://…: 404"),
            "unauthorized",
            "another server answers at shop.example.org: 192.0.2.7: Invalid",
        ),
        (
            FAILED.format(kind="caa", detail="CAA record for shop.example.org prevents issuance"),
            "caa",
            "a CAA record of shop.example.org forbids this authority",
        ),
        (
            REFUSED.format(text="too many certificates (5) already issued for this exact set of domains, retry later"),
            "rateLimited",
            "the authority has a rate limit for shop.example.org: too many certificates (5)",
        ),
        (
            REFUSED.format(text="There were too many requests of a given type :: Service busy; retry later."),
            "rateLimited",
            "the authority has a rate limit",
        ),
        (
            REFUSED.format(text="ConnectionError: HTTPSConnectionPool(host='acme', port=443): \x1b[31mMax retries"),
            "other",
            "certbot got no certificate for shop.example.org: ConnectionError: HTTPSConnectionPool(host='acme'",
        ),
        ("Another instance of Certbot is already running.\n", "other", "certbot got no certificate"),
        ("", "other", "it printed nothing"),
    ],
)
def test_reason_is_read(output: str, kind: str, said: str) -> None:
    refusal = read_refusal(output, NOW)
    reason = refusal.reason("shop.example.org")
    assert refusal.kind == kind
    assert said in reason.cause and reason.cause.isprintable()
    assert "sudo hookd certify" in reason.hint


def test_long_reason_is_cut() -> None:
    assert len(read_refusal("x" * 5000, NOW).detail) <= 200


def test_command_takes_no_other_domain() -> None:
    command = obtain_command("shop.example.org", "ops@example.org")
    assert command[:2] == ("certbot", "certonly")
    assert command[command.index("--domain") + 1] == command[command.index("--cert-name") + 1] == "shop.example.org"
    assert command[command.index("--deploy-hook") + 1] == "systemctl reload nginx.service"


def test_certificates_are_wanted_once() -> None:
    host = replace(HOST, tls_mail="ops@example.org")
    plain = make_entry("plain", {}, "http://127.0.0.1:9000/", site={"domain": "plain.example.org", "tls": False})
    inside = make_entry("inside", {}, "http://127.0.0.1:9001/", site={})
    apps = (SHOP, BLOG, plain, inside)
    assert missing_domains(host, apps) == ("deploy.example.org", "shop.example.org", "blog.example.org")
    assert missing_domains(replace(NEW_HOST, tls_mail="ops@example.org"), apps) == ()
    assert missing_domains(HOST, apps) == ()
    assert missing_domains(replace(BARE_HOST, tls_mail="ops@example.org"), apps) == ()
