"""`hookd doctor`: looks at everything that can be wrong with a server, and names the command that mends it.

It changes nothing, starts nothing, runs nothing that another than root can write, and every wait of it ends. One
function is its face: `doctor(path, only)` returns a `Report`, whatever state the host is in.

Map: `judge` (runs the checks, each by itself) · `report` (for people, as JSON, as an exit status) · `finding` (what a
check says) · `subject` (what all checks look at) · `systemd` and, one level up, `http` and `nginx_config` (how they
look) · and the checks: `services`, `answers`, `redis`, `queue`, `freezes`, `nginx`, `accounts`, `as_set_up`, `files`,
`permissions`, `code`, `sudo`, `git`, `space`, `clock`, `versions`.

Exit status, as monitoring plugins have it: 0 all is well, 1 warnings, 2 errors, 3 something could not be looked at (and
nothing is wrong with the rest).
"""

from units.doctor.context import app_names
from units.doctor.report import Report
from units.doctor.run import doctor

__all__ = ["Report", "app_names", "doctor"]
