"""The reader of `git ls-remote`, and the variables of git."""

import os

import pytest

from worker.release.git import git_variables, parse_ls_remote

MAIN, OTHER = "a" * 40, "b" * 40


@pytest.mark.threat(80)
@pytest.mark.parametrize(
    ("lines", "head"),
    [
        ([f"{MAIN}\trefs/heads/main"], MAIN),
        ([f"{OTHER}\trefs/heads/a/refs/heads/main", f"{MAIN}\trefs/heads/main"], MAIN),
        ([f"{OTHER}\trefs/heads/a/refs/heads/main"], None),
        ([f"{OTHER}\trefs/heads/mainly"], None),
        (["warning: something else", f"{'c' * 64}\trefs/heads/main", ""], "c" * 64),
        (["c0ffee\trefs/heads/main"], None),
        ([f"remote: {OTHER}\trefs/heads/main"], None),
        ([], None),
    ],
    ids=[
        "alone",
        "after another that ends so",
        "only another that ends so",
        "one that begins so",
        "among other lines",
        "no full id",
        "said by the host, not by git",
        "nothing",
    ],
)
def test_parse_ls_remote(lines: list[str], head: str | None) -> None:
    assert parse_ls_remote(lines, "refs/heads/main") == head


@pytest.mark.parametrize(
    ("host", "git"),
    [
        ({"https_proxy": "http://p:1"}, {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:1"}),
        ({"HTTP_PROXY": "http://p:1"}, {"http_proxy": "http://p:1", "HTTP_PROXY": "http://p:1"}),
        ({"NO_PROXY": ".lan", "no_proxy": ".low"}, {"no_proxy": ".low", "NO_PROXY": ".low"}),
        ({"all_proxy": "socks5://p"}, {"all_proxy": "socks5://p", "ALL_PROXY": "socks5://p"}),
        ({"SSL_CERT_FILE": "/ca.pem"}, {"SSL_CERT_FILE": "/ca.pem", "GIT_SSL_CAINFO": "/ca.pem"}),
        ({"SSL_CERT_DIR": "/ca"}, {"SSL_CERT_DIR": "/ca", "GIT_SSL_CAPATH": "/ca"}),
        ({"SSL_CERT_FILE": "/a", "GIT_SSL_CAINFO": "/b"}, {"SSL_CERT_FILE": "/a", "GIT_SSL_CAINFO": "/b"}),
        ({"GIT_SSL_NO_VERIFY": "1", "GIT_DIR": "/x", "https_proxy": ""}, {}),
    ],
)
def test_git_variables(host: dict[str, str], git: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in host.items():
        monkeypatch.setenv(name, value)
    assert git_variables() == git
