"""hookd's own code: the version that `current` leads to is whole, and is what was installed."""

from collections.abc import Iterator
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, warning
from units.host.install_code import version_of
from units.system import disk, layout

_REINSTALL: Final = "in the checkout of hookd: sudo ./run install"


def check(_subject: HostContext) -> Iterator[Finding]:
    """Compare the installed code with the digest in its name."""
    version = disk.read_link(layout.CURRENT)
    if version is None:
        yield error(f"{layout.CURRENT} leads nowhere: no unit of hookd's can start", _REINSTALL)
        return
    if disk.status(version / "complete") is None:
        yield error(f"{version} is not complete: its installation was cut off", _REINSTALL)
        return
    found = version_of(version / "code")
    if found != version.name:
        yield warning(f"the code in {version}, or the Python it runs on, is not what was installed", _REINSTALL)
    else:
        yield ok(f"the code is what was installed: {version.name}")
