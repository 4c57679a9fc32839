"""Server names and files in nginx's configuration."""

from pathlib import Path

import pytest

from units.system.nginx_config import config_files, server_names

ODD = """
events { worker_connections 768; }
http {
    log_format odd '$remote_addr { "$request" } # no comment; }';
    map $http_upgrade $up { default upgrade; '' close; }
    server {
        listen 80; server_name deploy.example.org "other.example.org";
        location = /x { return 200 "server_name a;b}"; }
        location ^~ /hooks/ { limit_except POST { deny all; } proxy_pass http://unix:/run/hookd/receiver.sock; }
    }
}
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ODD, {"deploy.example.org", "other.example.org"}),
        ("", set()),
        ("}}}} http {", set()),
        ("server_name x", set()),
        ('http { server { "', set()),
    ],
)
def test_odd_text_is_parsed(text: str, names: set[str]) -> None:
    assert server_names(text) == names


NAMES = """
# configuration file /etc/nginx/nginx.conf:
http { include sites-enabled/*; server { server_name a.org; server_name "b.org" ~^c$; } }

# configuration file /etc/nginx/sites-enabled/hookd-shop:
server { server_name shop.org; }

# configuration file /etc/nginx/sites-enabled/other:
server { # server_name gone.org;
    return 200 "server_name said.org;"; server_name other.org www.other.org; }
"""


def test_names_of_other_sites() -> None:
    others = {"a.org", "b.org", "~^c$", "other.org", "www.other.org"}
    assert server_names(NAMES) == {*others, "shop.org"}
    assert server_names(NAMES, without="hookd-shop") == others


def test_files_are_listed_once() -> None:
    printed = "# configuration file /etc/nginx/nginx.conf:\nuser x;\n\n# configuration file /etc/nginx/a b:\n"
    assert config_files(printed + printed) == [Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/a b")]
