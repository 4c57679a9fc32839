"""Asks for the variables of an app, before anything is made."""

import re
import secrets
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import click

from hookd.cli.common import print_line, print_next, styled
from hookd.model.plan import Variable
from hookd.variables import parse, value_problems, with_variable

# Only the app itself reads a secret of this name, so a random one is as good as any.
_OWN_SECRET: Final = re.compile(r"(?:[A-Z0-9]+_)*SECRET(?:_KEY)?")


def is_interactive() -> bool:
    """Return True if a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def is_own_secret(name: str) -> bool:
    """Return True for a variable that takes a random value."""
    return bool(_OWN_SECRET.fullmatch(name))


@dataclass(frozen=True)
class Places:
    """The values of the placeholders in examples: the directory of shared data, and the name of the site."""

    shared: str
    domain: str

    def fill(self, text: str) -> str:
        """Return an example with its placeholders replaced."""
        return text.replace("{shared}", self.shared).replace("{domain}", self.domain)


def ask_variables(variables: Collection[Variable], text: str, places: Places, *, yes: bool) -> str:
    """Ask for variables without a default that are not in a file's `text`. Return the text with their values.

    With `yes` the suggestions count, and a script without it sets nothing.
    """
    missing = _missing(variables, text)
    if not missing or not (yes or is_interactive()):
        return text
    if not yes:
        print_line("\nValues of the variables. An empty one is left out, and can be set later.")
    for variable in missing:
        suggestion = _suggestion(variable, places)
        if value := suggestion if yes else _ask(variable, suggestion):
            text = with_variable(text, variable.name, value)
    return text


def _suggestion(variable: Variable, places: Places) -> str:
    """Return a value that fits most apps: a random secret of the app's own, or the example of its code."""
    if is_own_secret(variable.name):
        return secrets.token_urlsafe(32)
    value = places.fill(variable.example or "")
    return "" if value_problems(variable.name, value) else value


def _ask(variable: Variable, suggestion: str) -> str:
    """Ask for a value. An own secret that is left empty is a random one."""
    is_own = is_own_secret(variable.name)
    shown, note = ("", " (empty: a random one)") if is_own else (suggestion, "")
    while True:
        prompt = f"  {styled(variable.name)}{styled(note, dim=True)}"
        value: str = click.prompt(prompt, default=shown, show_default=bool(shown), hide_input=variable.secret)
        if not value:
            return suggestion if is_own else ""
        if not (problems := value_problems(variable.name, value)):
            return value
        print_line(f"  {problems[0]}")


def list_unset(variables: Collection[Variable], text: str, command: str) -> None:
    """Print the variables that a file's `text` does not set, with the command that sets one, `{name}`."""
    if missing := [variable.name for variable in _missing(variables, text)]:
        print_line(f"not set: {', '.join(missing)}")
        print_next(command.replace("{name}", missing[0]))


def _missing(variables: Collection[Variable], text: str) -> list[Variable]:
    known = parse(text)
    return [variable for variable in variables if variable.needed and variable.name not in known]
