"""The files that exist only while a project is taken over; pure.

The bridge is a copy of the old unit, with hookd's drop-in, that runs the first release beside the old process: it is
proved there on a socket of its own, and serves visitors while the real unit changes from the old process to the new.
"""

from typing import Final

from units import layout
from units.adopt.adoption import Adoption
from units.app_files import app_files
from units.app_plan import drop_in_directories
from units.host import Host
from units.plan import Directory, File, Link, Plan
from units.templating import filled

_LAST: Final = "zz-hookd-adopt.conf"


def bridge_files(adoption: Adoption, host: Host, *, open_door: bool) -> tuple[File | Link, ...]:
    """The bridge's units; with an open door it takes visitors' requests, too."""
    own = layout.SYSTEMD / f"{adoption.bridge_unit}.service.d" / _LAST
    text = filled("adopt/bridge.conf", unit=adoption.unit, bridge=adoption.bridge_unit, open_door=open_door)
    copies = (File(layout.SYSTEMD / one.name, one.text, mode=one.mode) for one in adoption.copied)
    # Its socket does not open at boot by itself: the bridge brings it along.
    files = (file for file in app_files(adoption.bridge, host) if not isinstance(file, Link))
    return (*copies, *files, File(own, text))


def door_files(adoption: Adoption, host: Host) -> Plan:
    """The socket that visitors will come through, leading to the bridge for now; it is there after a reboot."""
    if adoption.way == "held":
        return ()
    name = f"{adoption.unit}.socket"
    drop_in = layout.SYSTEMD / f"{name}.d"
    to_bridge = filled("adopt/door.conf", bridge=adoption.bridge_unit, unit=adoption.unit)
    door = tuple(file for file in app_files(adoption.app, host) if file.path.name == name)
    return (
        Directory(drop_in, "root", "root", 0o755, keep=True),
        File(drop_in / _LAST, to_bridge),
        *drop_in_directories(door),
        *door,
    )


def final_files(adoption: Adoption, host: Host) -> tuple[File | Link, ...]:
    """What stays."""
    return app_files(adoption.app, host)


def check_files(adoption: Adoption) -> tuple[File, ...]:
    """The socket on which the real unit is asked before the bridge goes."""
    values = {"unit": adoption.unit, "name": adoption.name, "path": adoption.check_socket}
    return (
        File(layout.SYSTEMD / f"{adoption.unit}-check.socket", filled("adopt/check.socket", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}-check.service", filled("adopt/check.service", **values)),
        File(layout.SYSTEMD / f"{adoption.unit}.service.d" / _LAST, filled("adopt/check.conf", **values)),
    )
