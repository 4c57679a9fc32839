"""A project that is deployed by hand: a checkout in /opt with its venv, .env, data, unit and site."""

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
"""The shop: pages with its version, variables and files, and a slow one."""

import os
import time

def app(environ, start_response):
    own = {name: value for name, value in sorted(os.environ.items()) if name.startswith("SHOP_")}
    pages = {"/env": lambda: repr(own),
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
    """The project on its server, with the commands of its operator."""

    @property
    def bare(self) -> str:
        """The path of the repository for the machine's own git, without a key."""
        return f"/{self.repository.bare.relative_to(self.machine.disk)}"

    def make(self, unit: str = UNIT, site: str | None = SITE) -> None:
        """Deploy the project by hand."""
        self.commit("v1", {"uploads/.gitkeep": "", "static/style.css": "first", ".gitignore": _IGNORED})
        self.machine.run("git", "clone", "-q", self.bare, ROOT)
        self.machine.run("git", "-C", ROOT, "remote", "set-url", "origin", self.repository.url)
        self.machine.shell(_MAKE, directory=ROOT)
        self.serve(unit, site)

    def commit(self, version: str, files: Mapping[str, str] | None = None) -> str:
        """Push a commit of this project's own app."""
        return super().commit(version, {"wsgi.py": APP.replace("{version}", version), **(files or {})})

    def serve(self, unit: str, site: str | None) -> None:
        """Start its unit, with nginx in front if there is a site."""
        self.machine.write("/etc/systemd/system/shop.service", unit)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "enable", "shop.service")
        self.machine.run("systemctl", "restart", "shop.service")
        if site is not None:
            self.machine.write("/etc/nginx/sites-available/shop", site)
            self.machine.run("ln", "-sf", "../sites-available/shop", "/etc/nginx/sites-enabled/shop")
            self.machine.run("systemctl", "reload-or-restart", "nginx.service")
        self.machine.wait_until(self._serves, what="the project")

    def _serves(self) -> bool:
        try:
            return self.page() == "v1"
        except OSError:
            return False

    def adopt(self, *options: str) -> Done:
        """Run the command without a question."""
        return self.machine.run("hookd", "app", "adopt", ROOT, "--yes", *options, check=False, timeout=300)

    def prepare(self, *options: str) -> None:
        """Run the command for the first time and paste the printed key."""
        first = self.adopt(*options)
        assert first.returncode == 1, f"{first.stdout}{first.stderr}"
        assert "cannot be read yet" in first.stdout, first.stdout
        key = re.search(r"deploy key +(ssh-ed25519 \S+ .*?) +\(read only\)", first.stdout)
        assert key
        self.host.allow_reading(key[1], "acme/shop")

    def complete(self, *options: str) -> str:
        """Adopt the prepared project and return the output."""
        done = self.adopt(*options)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def contents(self) -> dict[str, str]:
        """Return the digest of every file of the project, without releases and environments."""
        find = r"find . \( -path ./releases -o -path ./venvs -o -name __pycache__ \) -prune -o -type f -print0"
        lines = self.machine.shell(f"{find} | xargs -0 sha256sum", directory=ROOT).splitlines()
        return {line[66:]: line[:64] for line in lines}

    def units(self) -> set[str]:
        """Return the project's loaded units that exist."""
        printed = self.machine.run("systemctl", "--plain", "--no-legend", "--all", "list-units", "shop*").stdout
        return {line.split()[0] for line in printed.splitlines() if " not-found " not in line}


def by_hand_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """Return the disk of a set-up server with a project that hookd does not know."""
    on = set_up_layer(servers, suite)
    return servers.layer(f"by hand {suite}", lambda machine: ByHand(machine).make(), on=on, suite=suite)


def prepared_layer(servers: Servers) -> Layer:
    """Return the same disk after the first `hookd app adopt`, with its key pasted."""
    return servers.layer("prepared", lambda machine: ByHand(machine).prepare(), on=by_hand_layer(servers))


def adopted_layer(servers: Servers) -> Layer:
    """Return the same disk after the adoption."""
    return servers.layer("adopted", lambda machine: ByHand(machine).complete(), on=prepared_layer(servers))
