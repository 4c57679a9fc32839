"""The check of certificates, with real ones in a directory of the test's own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.units.render.test_nginx import make_certificate
from tests.support.rendered import HOST
from units.doctor.checks.certificates import check_domain
from units.doctor.finding import Level
from units.host import certbot
from units.system import layout
from units.system.facts import Host

DOMAIN = "shop.example.org"
WITH_TLS = replace(HOST, tls_mail="ops@example.org")
NOW = datetime.now(UTC)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with a certificate of one day."""
    monkeypatch.setattr(layout, "CERTIFICATES", tmp_path / "live")
    monkeypatch.setattr(layout, "RENEWALS", tmp_path / "renewal")
    monkeypatch.setattr(layout, "REFUSALS", tmp_path / "certificates.json")
    (tmp_path / "live").mkdir()
    (tmp_path / "renewal").mkdir()
    make_certificate(tmp_path / "live" / DOMAIN, DOMAIN)
    return replace(WITH_TLS, certificates=frozenset({DOMAIN}))


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [
        (0, Level.WARNING, f"the certificate of {DOMAIN} ends in"),
        (2, Level.ERROR, f"the certificate of {DOMAIN} ended on"),
        (-19.5, Level.OK, "is valid for 20 days"),
    ],
)
def test_end_is_announced(host: Host, days: float, level: Level, said: str) -> None:
    (found,) = check_domain(host, DOMAIN, NOW + timedelta(days=days))
    assert (found.level, said in found.message) == (level, True), found
    if level != Level.OK:
        assert str(found.hint).startswith("replace the files")
        (layout.RENEWALS / f"{DOMAIN}.conf").touch()
        (found,) = check_domain(host, DOMAIN, NOW + timedelta(days=days))
        assert found.hint == f"sudo certbot renew --cert-name {DOMAIN}"


def test_unreadable_certificate_is_unknown(host: Host) -> None:
    (layout.CERTIFICATES / DOMAIN / "fullchain.pem").write_text("nonsense")
    (found,) = check_domain(host, DOMAIN, NOW)
    assert found.level == Level.UNKNOWN


def test_missing_certificate_has_its_reason(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    without = replace(host, certificates=frozenset())
    (found,) = check_domain(without, DOMAIN, NOW)
    assert (found.level, found.hint) == (Level.WARNING, "sudo hookd certify")
    refusal = certbot.Refusal("dns", "NXDOMAIN", "2026-05-01T00:00+00:00")
    monkeypatch.setattr(certbot, "refusals", lambda: {DOMAIN: refusal})
    (found,) = check_domain(without, DOMAIN, NOW)
    assert "DNS knows no address" in found.message and "2026-05-01" in found.message
    assert not list(check_domain(replace(without, tls_mail=None), DOMAIN, NOW))
