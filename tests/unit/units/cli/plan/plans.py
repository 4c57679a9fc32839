"""A plan with each kind of finding, and a person who types answers."""

from typing import Any

import click
from click.testing import CliRunner

from hookd.model.plan import Finding, Plan, Variable
from units.cli.plan.variables import Places

ENTRY = Finding("service.entry", "shop:app", "shop.py, line 3", proposed=False)
BUILD = Finding("build.commands", [["npm", "ci"], ["npm", "run", "build"]], "package.json", proposed=True)
WORKER = Finding("processes.worker", {"command": ["rq", "worker", "two words"]}, "Procfile, line 2", proposed=True)
KEY = Variable("SECRET_KEY", "config.py, line 4", needed=True, example=None, secret=True)
MAIL = Variable("MAIL_SERVER", "config.py, line 5", needed=True, example="localhost", secret=False)
DEBUG = Variable("DEBUG", "config.py, line 6", needed=False, example=None, secret=False)
FILE = Variable("DATABASE_URL", "config.py, line 7", needed=True, example="sqlite:///{shared}/data/x.db", secret=False)
OTHER = Variable("API_TOKEN", "config.py, line 8", needed=True, example=None, secret=True)
PLACES = Places("/var/lib/shop", "shop.example.org")
PLAN = Plan("flask", (ENTRY, BUILD, WORKER), (KEY, MAIL, DEBUG), ("LFS files need git-lfs",), ())


def typed(text: str, call: Any, *arguments: Any, **options: Any) -> tuple[Any, str]:
    """Call a function of a command with typed text, and return its result and its output."""
    results: list[Any] = []

    @click.command()
    def command() -> None:
        results.append(call(*arguments, **options))

    done = CliRunner().invoke(command, input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return (results or [None])[0], done.output
