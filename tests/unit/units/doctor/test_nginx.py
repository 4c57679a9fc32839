"""nginx's body limit against the receiver's."""

import pytest

from tests.support.receiver_site import BIND, found, site
from units.doctor.checks.endpoints import check_body_limits

WANTED = 25 * 1024 * 1024


def test_small_body_limit_is_reported() -> None:
    (problem,) = check_body_limits([*found(site()), *found(site())], BIND, WANTED)
    assert problem.level == "error"
    assert "nginx limits bodies to 1048576 bytes for deploy.example.org" in problem.message
    assert "sudo hookd setup && sudo nginx -t" in (problem.hint or "")


@pytest.mark.parametrize("limit", ["26214400", "25m", "1g", "0"])
def test_large_body_limit_passes(limit: str) -> None:
    assert not list(check_body_limits(found(site(f"client_max_body_size {limit};")), BIND, WANTED))


def test_missing_receiver_site_is_reported() -> None:
    (problem,) = check_body_limits(found(site().replace("receiver.sock", "another.sock")), BIND, WANTED)
    assert (problem.level, problem.hint) == ("error", "sudo hookd setup --domain DOMAIN")
    assert "no nginx site passes requests" in problem.message
