"""A project that is deployed by hand, as people do it: a checkout in /opt with its venv, .env, data, unit and site."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.server.commands import Done
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import Shop, set_up_layer

ROOT = "/opt/shop"
DOMAIN = "shop.example.org"
UNIT = """\
[Unit]
Description=The shop
After=network.target

[Service]
User=www-data
Group=www-data
WorkingDirectory=/opt/shop
EnvironmentFile=/opt/shop/.env
Environment=PATH=/opt/shop/venv/bin:/usr/bin "SHOP_MOTTO=two words"
ExecStart=/opt/shop/venv/bin/gunicorn --workers 2 --timeout 45 --bind 127.0.0.1:8000 wsgi:app

[Install]
WantedBy=multi-user.target
"""
SITE = """\
upstream shop { server 127.0.0.1:8000 fail_timeout=0; }
server {
    listen 80;
    server_name shop.example.org;
    location /uploads/ { alias /opt/shop/uploads/; }
    location /static/ { alias /opt/shop/static/; }
    location / {
        proxy_set_header Host $host;
        proxy_pass http://shop;
    }
}
"""
APP = '''\
"""The shop: says its version, its variables, and what it was given; slow when it is asked to be."""

import os
import time

def app(environ, start_response):
    pages = {"/env": lambda: repr({name: value for name, value in os.environ.items() if name.startswith("SHOP_")}),
             "/files": lambda: open(".env").read(), "/where": os.getcwd, "/slow": lambda: time.sleep(3) or "slept"}
    text = pages.get(environ["PATH_INFO"], lambda: "{version}")()
    if environ["PATH_INFO"] == "/write":
        open("uploads/written", "w").write("written")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
'''
_IGNORED = ".env\nvenv/\n/uploads/*\n!.gitkeep\n/downloads/\n/logs/\n__pycache__/\n"
_MAKE = """\
python3 -m venv venv
venv/bin/pip install -q -r requirements.txt
mkdir downloads logs
echo SHOP_SECRET=canary > .env
echo photo > uploads/photo.jpg
head -c 300000 /dev/urandom > uploads/film.mp4
mkdir -p uploads/2024/05 && echo old > 'uploads/2024/05/a name.txt'
echo list > downloads/list.csv
echo line > logs/app.log
chown -R manager:www-data .
chmod -R 755 .
chmod -R ug+w uploads downloads logs
chmod 640 .env
"""


@dataclass
class ByHand(Shop):
    """The project on its server, and who looks after it."""

    @property
    def bare(self) -> str:
        """Where the machine's own git finds the repository, without a key."""
        return f"/{self.repository.bare.relative_to(self.machine.disk)}"

    def make(self, unit: str = UNIT, site: str | None = SITE) -> None:
        """Deploy it as people do."""
        self.commit("v1", {"uploads/.gitkeep": "", "static/style.css": "first", ".gitignore": _IGNORED})
        self.machine.run("git", "clone", "-q", self.bare, ROOT)
        self.machine.run("git", "-C", ROOT, "remote", "set-url", "origin", self.repository.url)
        self.machine.shell(_MAKE, directory=ROOT)
        self.serve(unit, site)

    def commit(self, version: str, files: Mapping[str, str] | None = None) -> str:
        """A commit of this project's own app."""
        return super().commit(version, {"wsgi.py": APP.replace("{version}", version), **(files or {})})

    def serve(self, unit: str, site: str | None) -> None:
        """Start its unit, behind nginx if there is a site."""
        self.machine.write("/etc/systemd/system/shop.service", unit)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "enable", "shop.service")
        self.machine.run("systemctl", "restart", "shop.service")
        if site is not None:
            self.machine.write("/etc/nginx/sites-available/shop", site)
            self.machine.run("ln", "-sf", "../sites-available/shop", "/etc/nginx/sites-enabled/shop")
            self.machine.run("systemctl", "reload-or-restart", "nginx.service")
        self.machine.wait_until(self._serves, what="the project as it was made by hand")

    def _serves(self) -> bool:
        try:
            return self.page() == "v1"
        except OSError:
            return False

    def adopt(self, *options: str) -> Done:
        """Type the command, without being asked."""
        return self.machine.run("hookd", "app", "adopt", ROOT, "--yes", *options, check=False, timeout=300)

    def prepared(self, *options: str) -> None:
        """Type it for the first time, and paste the key that it prints."""
        first = self.adopt(*options)
        assert first.returncode == 1, f"{first.stdout}{first.stderr}"
        assert "cannot be read yet" in first.stdout, first.stdout
        key = re.search(r"deploy key +(ssh-ed25519 \S+ .*?) +\(read only\)", first.stdout)
        assert key
        self.host.allow_reading(key[1], "acme/shop")

    def adopted(self, *options: str) -> str:
        """Type it again: it goes through; returns what it printed."""
        done = self.adopt(*options)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def contents(self) -> dict[str, str]:
        """The digest of every file of the project, but for releases and their environments."""
        found = r"find . \( -path ./releases -o -path ./venvs -o -name __pycache__ \) -prune -o -type f -print0"
        lines = self.machine.shell(f"{found} | xargs -0 sha256sum", directory=ROOT).splitlines()
        return {line[66:]: line[:64] for line in lines}

    def units(self) -> set[str]:
        """The project's units that systemd has loaded, and that are not there in name alone."""
        printed = self.machine.run("systemctl", "--plain", "--no-legend", "--all", "list-units", "shop*").stdout
        return {line.split()[0] for line in printed.splitlines() if " not-found " not in line}


def by_hand_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """The disk of a server that is set up, with a project on it that hookd knows nothing of."""
    on = set_up_layer(servers, suite)
    return servers.layer(f"by hand {suite}", lambda machine: ByHand(machine).make(), on=on, suite=suite)


def prepared_layer(servers: Servers) -> Layer:
    """The same, when `hookd app adopt` has been typed once and the key is pasted; nothing is adopted yet."""
    return servers.layer("prepared", lambda machine: ByHand(machine).prepared(), on=by_hand_layer(servers))


def adopted_layer(servers: Servers) -> Layer:
    """The same, when it is adopted."""
    return servers.layer("adopted", lambda machine: ByHand(machine).adopted(), on=prepared_layer(servers))
