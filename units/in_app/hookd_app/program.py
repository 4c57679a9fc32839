"""gunicorn with the app's own settings, and hookd's over them.

The app's are those of its gunicorn.conf.py, or of the file that GUNICORN_CMD_ARGS names, and GUNICORN_CMD_ARGS itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.config import Config

from hookd_app import hooks
from hookd_app.workers import choose_workers

if TYPE_CHECKING:
    from argparse import Namespace

# Seconds for running requests at a stop. The unit must wait longer.
GRACEFUL_TIMEOUT = 30
# Settings that only hookd makes: sockets, users, directory and the way of an end are its unit's, TLS is nginx's.
KEPT = frozenset(
    "bind reuse_port proxy_protocol certfile keyfile pidfile daemon user group initgroups umask chdir graceful_timeout"
    " control_socket control_socket_disable wsgi_app paste check_config print_config".split()
)


class Settings(Config):  # type: ignore[misc]
    """gunicorn's settings without the app's values for those that hookd keeps.

    `given` are the names that the app set, `refused` those among them that hookd keeps.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given: set[str] = set()
        self.refused: set[str] = set()

    def set(self, name: str, value: object) -> None:
        """Take a setting of the app."""
        if name in KEPT:
            self.refused.add(name)
            return
        self.given.add(name)
        super().set(name, value)

    def keep(self, name: str, value: object) -> None:
        """Make a setting of hookd's, if this gunicorn has it."""
        if name in self.settings:
            super().set(name, value)


class Program(WSGIApplication):  # type: ignore[misc]
    """An app and its settings. `wanted` are the options of the command line."""

    def __init__(self, wanted: Namespace) -> None:
        self.wanted = wanted
        # Many files read it, as on other platforms. hookd's socket is another one.
        os.environ.setdefault("PORT", "8000")
        super().__init__()

    def load_default_config(self) -> None:
        """Begin with gunicorn's own settings."""
        self.cfg = Settings(self.usage, prog=self.prog)

    def load_config(self) -> None:
        """Read the app's settings, and put hookd's over them."""
        arguments, sys.argv = sys.argv, [sys.argv[0], self.wanted.entry]
        try:
            super().load_config()
        finally:
            sys.argv = arguments
        if self.cfg.refused:
            names = ", ".join(sorted(self.cfg.refused))
            sys.stderr.write(f"hookd sets these settings of gunicorn itself, the app's are not used: {names}\n")
        for note in choose_workers(self.cfg, self.wanted):
            sys.stderr.write(f"{note}\n")
        sys.stderr.flush()
        self.cfg.keep("graceful_timeout", GRACEFUL_TIMEOUT)
        # Any process of the same user could stop the server through it.
        self.cfg.keep("control_socket_disable", True)
        if self.wanted.bind:
            self.cfg.keep("bind", self.wanted.bind)
        hooks.add_to(self.cfg)

    def prepare(self) -> None:
        """Set the variables and paths of the app's settings, as gunicorn does before it loads the app."""
        os.environ.update(self.cfg.env)
        for path in (self.cfg.pythonpath or "").split(","):
            if path and os.path.abspath(path) not in sys.path:
                sys.path.insert(0, os.path.abspath(path))
