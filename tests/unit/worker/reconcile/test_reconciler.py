"""The circuit breaker of git hosts."""

import pytest

from worker.reconcile.reconciler import CircuitBreaker, git_host

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
def test_git_host(repository: str, host: str) -> None:
    assert git_host(repository) == host


@pytest.mark.threat(40)
def test_two_timeouts_open_the_circuit_breaker() -> None:
    hosts = CircuitBreaker()
    assert not hosts.is_open(SLOW)
    hosts.record_timeout(SLOW)
    assert not hosts.is_open(SLOW), "one repository may be slow, and its host well"
    hosts.record_timeout("git@git.example.org:acme/blog.git")
    assert hosts.is_open(SLOW)
    assert not hosts.is_open("https://other.example.org/acme/shop.git")
    assert not CircuitBreaker().is_open(SLOW), "the next round asks again"
