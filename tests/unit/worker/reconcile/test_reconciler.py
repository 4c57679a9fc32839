"""Git hosts, by which the circuit breaker counts timeouts."""

import pytest

from worker.reconcile.reconciler import server_of

SLOW = "https://git.example.org/acme/shop.git"


@pytest.mark.parametrize(
    ("repository", "host"),
    [
        (SLOW, "git.example.org"),
        ("https://Git.example.org:8443/acme/shop.git", "git.example.org:8443"),
        ("ssh://git@git.example.org:2222/acme/shop.git", "git.example.org:2222"),
        ("git@git.example.org:acme/shop.git", "git.example.org"),
        ("file:///srv/git/shop.git", "file:///srv/git/shop.git"),
    ],
)
def test_server_of_repository(repository: str, host: str) -> None:
    assert server_of(repository) == host
