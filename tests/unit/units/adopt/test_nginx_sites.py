"""Changes of nginx's files: only addresses and paths of the project change."""

from pathlib import Path

import pytest

from units.adopt.discovery.nginx_sites import rewrite_site

NEW = "unix:/run/hookd-apps/shop.sock"
OLD = "127.0.0.1:8000"


def moved(path: str) -> str | None:
    """Map the static files."""
    return path.replace("/opt/shop/static", "/opt/shop/current/static") if "/opt/shop/static" in path else None


def after(text: str, *olds: str, new: str = NEW) -> str:
    return rewrite_site(Path("/etc/nginx/site"), text, olds or (OLD,), new, moved).after


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("proxy_pass http://127.0.0.1:8000;", f"proxy_pass http://{NEW};"),
        ("proxy_pass http://localhost:8000;", f"proxy_pass http://{NEW};"),
        ("proxy_pass http://127.0.0.1:8000/;", f"proxy_pass http://{NEW}:/;"),
        ("proxy_pass http://127.0.0.1:8000/api$uri;", f"proxy_pass http://{NEW}:/api$uri;"),
        ('proxy_pass "http://127.0.0.1:8000";', f'proxy_pass "http://{NEW}";'),
        ("server 127.0.0.1:8000 max_fails=0;", f"server {NEW} max_fails=0;"),
        ("proxy_pass 127.0.0.1:8000;", f"proxy_pass {NEW};"),
        ("location / { proxy_pass http://127.0.0.1:8000; } # old", f"location / {{ proxy_pass http://{NEW}; }} # old"),
        ("alias /opt/shop/static/;", "alias /opt/shop/current/static/;"),
        ("root /opt/shop/static;", "root /opt/shop/current/static;"),
    ],
)
def test_old_addresses_are_replaced(before: str, now: str) -> None:
    assert after(f"server {{\n\t{before}\n}}\n") == f"server {{\n\t{now}\n}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "proxy_pass http://127.0.0.1:80001;",
        "proxy_pass http://127.0.0.1:800;",
        "proxy_pass http://10.127.0.0.1:8000;",
        "proxy_pass http://other;",
        "# proxy_pass http://127.0.0.1:8000;",
        "alias /opt/shop/uploads/;",
        "return 200 'proxy_pass http://127.0.0.1:8000;';",
        "",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert after(text) == text


def test_unsupported_use_is_reported() -> None:
    site = rewrite_site(Path("/x"), "set $backend http://127.0.0.1:8000; proxy_pass $backend;", [OLD], NEW, moved)
    assert site.unsupported == ("http://127.0.0.1:8000",)
    assert not site.is_proxy


def test_domains_are_read() -> None:
    text = 'server { server_name shop.example.org "www.shop.example.org"; proxy_pass http://127.0.0.1:8000; }'
    site = rewrite_site(Path("/x"), text, [OLD], NEW, moved)
    assert site.domains == ("shop.example.org", "www.shop.example.org")
    assert site.is_proxy


def test_all_address_forms_match() -> None:
    assert after("proxy_pass http://unix:/run/old.sock:/api;", "unix:/run/old.sock") == (
        f"proxy_pass http://{NEW}:/api;"
    )
    for name in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
        assert after(f"server {name}:8000;", "0.0.0.0:8000") == f"server {NEW};"
    assert after("server localhost:8000;", "[::1]:8000") == f"server {NEW};"
    assert after("server 192.0.2.1:8000;", "192.0.2.1:8000") == f"server {NEW};"


def test_kept_socket_changes_paths_only() -> None:
    text = "server { location /static/ { alias /opt/shop/static/; } proxy_pass http://unix:/run/old.sock; }"
    site = rewrite_site(Path("/x"), text, ["unix:/run/old.sock"], "unix:/run/old.sock", moved)
    assert site.is_proxy
    assert site.after == text.replace("/opt/shop/static", "/opt/shop/current/static")
