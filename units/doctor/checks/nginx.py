"""nginx: its files are sound, it passes pushes on to the receiver, and its limit on bodies is not the smaller one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from units.doctor.checks.services import check_unit
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown
from units.system.nginx_config import ProxyTarget, parse, proxy_targets
from units.system.run import CommandFailed, run

GOOD: Final = "nginx runs, and passes on pushes of every size that the receiver takes"
_SECONDS: Final = 5
_UNIT: Final = "nginx.service"
_PROGRAMS: Final = (Path("/usr/sbin/nginx"), Path("/usr/bin/nginx"))
_RELOAD: Final = "sudo nginx -t && sudo systemctl reload nginx.service"


def check(subject: HostContext) -> Iterator[Finding]:
    """Look at nginx and at what it does with a push."""
    settings = subject.settings.receiver
    if not settings.bind.startswith("unix:"):
        yield ok("the receiver listens on TCP by itself, and nginx is not looked at")
        return
    if not any(program.exists() for program in _PROGRAMS):
        yield unknown(
            "nginx is not installed: what brings pushes to the receiver is not known", "sudo apt-get install nginx"
        )
        return
    if not subject.is_root:
        raise CannotCheck("only root can read nginx's configuration with its certificates", "sudo hookd doctor")
    yield from check_unit(subject.unit(_UNIT), "sudo apt-get install nginx")
    try:
        text = run(("nginx", "-T", "-q"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"nginx refuses its own files, and would not start again: {failed.output}", "sudo nginx -t")
        return
    yield from check_body_limits(list(proxy_targets(parse(text))), settings.bind, settings.max_body)


def check_body_limits(places: list[ProxyTarget], bind: str, max_body: int) -> Iterator[Finding]:
    """Say whether a body of `max_body` bytes reaches the receiver at `bind`."""
    own = [place for place in places if bind in place.target]
    if not own:
        what = f"no site of nginx passes requests on to the receiver ({bind}): no push arrives"
        yield error(what, "sudo hookd setup --domain DOMAIN")
    for domains, largest in dict.fromkeys((place.domains, place.max_body) for place in own):
        if 0 < largest < max_body:
            name = " ".join(domains) or "the default site"
            what = f"nginx takes {largest} bytes at most for {name}, and the receiver {max_body}"
            yield error(f"{what}: a large push is refused with 413", f"sudo hookd setup && {_RELOAD}")
