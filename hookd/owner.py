"""The user of the worker: the owner of hookd's state. With circus, this user also runs the code of a push."""

import os
import pwd
from contextlib import suppress

from hookd.config import DEFAULT, Config


class WrongUser(Exception):
    """This user may not deploy here. `hint` is the next command."""

    def __init__(self, cause: str, *, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


def require_owner(config: Config, unit: str = "hookd-worker@1.service") -> None:
    """Raise WrongUser for another user than the state's owner, and for root on a server. `unit` is the right way there.

    Root may deploy in a sandbox of its own, such as a container of tests.
    """
    state, me = config.settings.state, os.geteuid()
    hint = f"sudo systemctl start {unit}" if config.is_server else f"ls -ld {state}"
    with suppress(OSError):
        if (owner := state.stat().st_uid) != me:
            raise WrongUser(f"{state} belongs to {_name(owner)}, and this is {_name(me)}", hint=hint)
    if me == 0 and config.is_server and config.path == DEFAULT:
        raise WrongUser("root deploys nothing on a server", hint=hint)


def _name(user: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(user).pw_name
    return f"user {user}"
