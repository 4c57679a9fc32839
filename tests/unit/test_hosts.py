"""Which git hosts are waited for no longer, within one round of looks."""

import pytest

from worker.hosts import Hosts, host_of

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
def test_a_repository_s_host(repository: str, host: str) -> None:
    assert host_of(repository) == host


@pytest.mark.threat(40)
def test_who_kept_two_waiting_is_waited_for_by_nobody_else() -> None:
    hosts = Hosts()
    assert not hosts.is_given_up(SLOW)
    hosts.kept_waiting(SLOW)
    assert not hosts.is_given_up(SLOW), "one repository may be slow, and its host well"
    hosts.kept_waiting("git@git.example.org:acme/blog.git")
    assert hosts.is_given_up(SLOW)
    assert not hosts.is_given_up("https://other.example.org/acme/shop.git")
    assert not Hosts().is_given_up(SLOW), "the next round asks again"
