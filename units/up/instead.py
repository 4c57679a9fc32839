"""The commands for an app of `hookd up` in place of those for servers."""

import shlex
import sys
from collections.abc import Sequence

from hookd.commands import edit_command, up_command
from units.up.home import Home


def command_instead(home: Home, words: Sequence[str]) -> str:
    """Return the command for an app without root. `words` are the names of a command for servers, without `hookd`."""
    match words:
        case ("stop",):
            return shlex.join(("hookd", "down", home.name))
        case ("app", "remove"):
            return shlex.join(("hookd", "down", home.name, "--purge"))
        case ("app", "edit"):
            return edit_command(str(home.app_file))
        case ("env", *_):
            return edit_command(str(home.variables_file))
        case ("app", "show"):
            return shlex.join(("cat", str(home.app_file)))
        case ("secret", "show"):
            return shlex.join(("cat", str(home.secret_file)))
        case ("secret", "rotate"):
            return edit_command(str(home.secret_file))
        case ("run",):
            with_variables = (sys.executable, "-P", "-m", "hookd.with_variables", str(home.variables_file))
            return f"cd {shlex.quote(str(home.root / 'current'))} && {shlex.join((*with_variables, 'env'))}"
    return up_command(home.load())
