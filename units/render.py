"""Every file that hookd puts on a host, as values: pure functions of the host's facts and the catalogue."""

from units.app_files import app_files
from units.host_files import host_files

__all__ = ["app_files", "host_files"]
