"""A certificate authority inside a machine: Pebble, Let's Encrypt's own ACME server for tests, and its DNS."""

import json
from typing import Final

from tests.support.server.machine import Machine

_HOME: Final = "/opt/pebble"
_PORT: Final = 14000
# An authority that asks at a closed port instead of port 80, and one that refuses every order.
_CLOSED_PORT: Final = 14001
_BUSY_PORT: Final = 14002
# Where the second authority looks for proofs.
OTHER_HTTP_PORT: Final = 8099
_DNS: Final = "127.0.0.1:8053"
_DNS_CONTROL: Final = "127.0.0.1:8055"
_UNIT: Final = """\
[Service]
ExecStart={command}
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
# The same accounts as the first authority's, behind a limit that is reached.
_BUSY_SITE: Final = f"""\
server {{
    listen 127.0.0.1:{_BUSY_PORT} ssl;
    ssl_certificate {_HOME}/cert.pem;
    ssl_certificate_key {_HOME}/key.pem;
    location /order-plz {{
        default_type application/problem+json;
        return 429 '{{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates issued"}}';
    }}
    location / {{
        proxy_pass https://127.0.0.1:{_PORT};
        proxy_set_header Host $http_host;
    }}
}}
"""
_CERTIFICATE: Final = f"""\
mkdir -p {_HOME} && cd {_HOME}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
cp cert.pem /usr/local/share/ca-certificates/pebble.crt
update-ca-certificates
"""


class Authority:
    """The authorities of one machine. certbot uses the first one."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def use(self, kind: str = "") -> None:
        """Let certbot use another authority: "closed" asks at a closed port, "busy" refuses orders."""
        port = {"": _PORT, "closed": _CLOSED_PORT, "busy": _BUSY_PORT}[kind]
        self._machine.write("/root/.config/letsencrypt/cli.ini", f"server = https://localhost:{port}/dir\n")

    def forget_name(self, domain: str) -> None:
        """Let DNS fail for a domain."""
        self._control("set-servfail", host=f"{domain}.")

    def know_name(self, domain: str) -> None:
        """Let DNS answer for a domain again."""
        self._control("clear-servfail", host=f"{domain}.")

    def _control(self, action: str, **values: str) -> None:
        self._machine.run("curl", "--fail", "-sS", "-d", json.dumps(values), f"http://{_DNS_CONTROL}/{action}")


def authority(machine: Machine) -> Authority:
    """Install and start the authorities. Every name leads to the machine."""
    machine.shell("apt-get update -q && apt-get install -y -q --no-install-recommends pebble")
    machine.shell(_CERTIFICATE)
    others = ('-http01 "" -https01 "" -tlsalpn01 ""', "-defaultIPv4 127.0.0.1", '-defaultIPv6 ""')
    dns = f"/usr/bin/pebble-challtestsrv -dns01 {_DNS} -management {_DNS_CONTROL} {' '.join(others)}"
    commands = {"acme-dns": dns}
    for name, port, http_port in (("acme", _PORT, 80), ("acme-closed", _CLOSED_PORT, OTHER_HTTP_PORT)):
        config = {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{port + 1000}",
            "certificate": f"{_HOME}/cert.pem",
            "privateKey": f"{_HOME}/key.pem",
            "httpPort": http_port,
            "tlsPort": 443,
        }
        machine.write(f"{_HOME}/{name}.json", json.dumps({"pebble": config}))
        commands[name] = f"/usr/bin/pebble -config {_HOME}/{name}.json -dnsserver {_DNS}"
    for name, command in commands.items():
        machine.write(f"/etc/systemd/system/{name}.service", _UNIT.format(command=command))
    machine.write("/etc/nginx/conf.d/busy.conf", _BUSY_SITE)
    machine.run("systemctl", "reload", "nginx.service")
    machine.run("systemctl", "enable", "--now", *(f"{name}.service" for name in commands))
    ready = ("curl", "--fail", "-sS", f"https://localhost:{_BUSY_PORT}/dir")
    machine.wait_until(lambda: machine.run(*ready, check=False).returncode == 0, 30, "Pebble")
    made = Authority(machine)
    made.use()
    return made
