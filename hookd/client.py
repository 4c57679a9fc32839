"""Names the client of a request for the log, where fail2ban reads it: an IP address or a dash, and nothing else."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any


def client_of(environ: Mapping[str, Any]) -> str:
    """Name who sent a request.

    On TCP that is the peer, whatever its headers say. On a unix socket there is no address of a peer, but nginx
    puts the client's last into X-Forwarded-For. (So can whoever else may connect there: an app of the same user that
    runs without hookd's sandbox.)
    """
    peer = environ.get("REMOTE_ADDR") or ""
    said = peer or environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    try:
        address = ip_address(said)
    except ValueError:
        return "-"
    if not isinstance(address, IPv6Address):
        return str(address)
    # What follows a `%` may be any text at all, such as one that looks like the rest of a log line.
    return str(address.ipv4_mapped or address) if address.scope_id is None else "-"
