"""An nginx configuration with a site for the receiver, odd on purpose, and what is read from it."""

from units.system.nginx_config import ProxyTarget, parse, proxy_targets

BIND = "unix:/run/hookd/receiver.sock"


def found(text: str) -> list[ProxyTarget]:
    return list(proxy_targets(parse(text)))


def site(inside: str = "", http: str = "", location: str = "") -> str:
    return f"""
    events {{ worker_connections 768; }}
    http {{
        {http}
        log_format odd '$remote_addr {{ "$request" }} # no comment; }}';
        map $http_upgrade $up {{ default upgrade; '' close; }}
        server {{
            listen 80; server_name deploy.example.org "other.example.org";
            {inside}
            location = /x {{ return 200 "a;b}}"; }}
            location ^~ /hooks/ {{
                {location}
                limit_except POST {{ deny all; }}
                proxy_pass http://{BIND};
            }}
        }}
    }}
    """
