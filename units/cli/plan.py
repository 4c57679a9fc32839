"""Shows the plan for a repository, and asks a person about it before anything is made."""

import re
import secrets
import shlex
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click
import tomlkit

from hookd.cli.common import print_line, print_next, styled
from hookd.model.plan import Finding, Plan, Variable
from hookd.variables import value_problems, with_variable
from units.apps.found import PAGE
from units.system.errors import Refused

# The options of a command that overrule a finding. All others are set by `--set KEY=VALUE`.
_OPTIONS: Final = {
    "service.directory": "--directory",
    "service.entry": "--entry",
    "shared.directories": "--data",
    PAGE: "--health",
}
_TITLES: Final = {
    "service.": "",
    "dependencies.": "",
    "health.": "health ",
    "build.commands": "build",
    "build.environment": "for the build",
    "release.commands": "release",
    "shared.directories": "data",
    "shared.files": "files",
    "site.static": "static files",
    "processes.": "worker ",
    "timers.": "timer ",
}
_TITLE_WIDTH, _VALUE_WIDTH = 18, 34
# Only the app itself reads a secret of this name, so a random one is as good as any.
_OWN_SECRET: Final = re.compile(r"(?:[A-Z0-9]+_)*SECRET(?:_KEY)?")


@dataclass(frozen=True)
class Agreement:
    """The findings that a person accepted, or the edited table in their place."""

    findings: tuple[Finding, ...]
    table: dict[str, Any] | None = None


def is_interactive() -> bool:
    """Return True if a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show_plan(source: str, plan: Plan, given: Collection[str] = ()) -> None:
    """Print a plan: each value, the place where it was read, and the option that overrules it.

    `given` are keys that a person has set.
    """
    print_line(f"\nFound in {source}: {plan.kind}", bold=True)
    findings = [finding for finding in plan.findings if finding.key not in given]
    _show_findings([finding for finding in findings if not finding.proposed])
    if proposed := [finding for finding in findings if finding.proposed]:
        print_line("Proposed, because it runs a command or moves data:", bold=True)
        _show_findings(proposed)
    if needed := [variable for variable in plan.variables if variable.needed]:
        print_line("Variables to set, with the value that --yes takes:", bold=True)
        for variable in needed:
            suggested = "random" if _OWN_SECRET.fullmatch(variable.name) else variable.example or ""
            print_line(f"  {variable.name:<28} {suggested:<{_VALUE_WIDTH}} {variable.source}".rstrip())
    for remark in plan.remarks:
        print_line(f"  note: {remark}")


def _show_findings(findings: list[Finding]) -> None:
    for finding in findings:
        option = _OPTIONS.get(finding.key, f"--set {finding.key}=…")
        value, where = _shown(finding.key, finding.value), styled(f"{finding.source}  {option}", dim=True)
        gap = "" if len(value) < _VALUE_WIDTH else f"\n{'':<{_TITLE_WIDTH + 3}}"
        click.echo(f"  {styled(_title(finding.key)):<{_TITLE_WIDTH}} {styled(value):<{_VALUE_WIDTH}}{gap}{where}")


def _title(key: str) -> str:
    for start, title in _TITLES.items():
        if key.startswith(start):
            return f"{title}{key.removeprefix(start)}" if start.endswith(".") else title
    return key


def _shown(key: str, value: Any) -> str:
    """Return a value as a person reads it: commands as command lines."""
    match value:
        case {"command": [*words]}:
            return shlex.join(map(str, words))
        case [[*_], *_]:
            return " && ".join(shlex.join(map(str, words)) for words in value)
        case list() | tuple():
            return ", ".join(map(str, value))
        case Mapping() if key == "site.static":
            return ", ".join(f"{url} from {directory}" for url, directory in value.items())
        case Mapping():
            return " ".join(f"{name}={inner}" for name, inner in value.items())
        case _:
            return str(value)


def agree(plan: Plan, make_table: Callable[[tuple[Finding, ...]], dict[str, Any]], *, yes: bool) -> Agreement:
    """Ask if the plan is right. Without a terminal, the proposals count only with `yes`. Raises Abort for a no."""
    if yes:
        return Agreement(plan.findings)
    plain = tuple(finding for finding in plan.findings if not finding.proposed)
    if not is_interactive():
        if len(plain) < len(plan.findings):
            print_line("  the proposals are left out, --yes accepts them")
        return Agreement(plain)
    answer = click.prompt("Go on with it? yes, edit or no", type=click.Choice(["y", "e", "n"]), default="y")
    if answer == "n":
        raise click.Abort
    return Agreement(plan.findings, _edited(make_table(plan.findings)) if answer == "e" else None)


def _edited(table: dict[str, Any]) -> dict[str, Any] | None:
    """Open an editor with the table, and return the changed one, or None without a change."""
    text = click.edit(tomlkit.dumps(table), extension=".toml")
    while text is not None:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            print_line(f"not TOML: {error}")
            click.confirm("Edit it again?", default=True, abort=True)
        text = click.edit(text, extension=".toml")
    return None


@dataclass(frozen=True)
class Places:
    """The values of the placeholders in examples: the directory of shared data, and the name of the site."""

    shared: str
    domain: str

    def fill(self, text: str) -> str:
        """Return an example with its placeholders replaced."""
        return text.replace("{shared}", self.shared).replace("{domain}", self.domain)


def ask_variables(
    variables: Collection[Variable], text: str, known: Collection[str], places: Places, *, yes: bool
) -> str:
    """Ask for variables that have no default and are not `known`. Return the file's `text` with the values.

    With `yes` the suggestions count, and a script without it sets nothing.
    """
    missing = [variable for variable in variables if variable.needed and variable.name not in known]
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
    if _OWN_SECRET.fullmatch(variable.name):
        return secrets.token_urlsafe(32)
    value = places.fill(variable.example or "")
    return "" if value_problems(variable.name, value) else value


def _ask(variable: Variable, suggestion: str) -> str:
    """Ask for a value. An own secret that is left empty is a random one."""
    is_own = bool(_OWN_SECRET.fullmatch(variable.name))
    shown, note = ("", " (empty: a random one)") if is_own else (suggestion, "")
    while True:
        prompt = f"  {styled(variable.name)}{styled(note, dim=True)}"
        value: str = click.prompt(prompt, default=shown, show_default=bool(shown), hide_input=variable.secret)
        if not value:
            return suggestion if is_own else ""
        if not (problems := value_problems(variable.name, value)):
            return value
        print_line(f"  {problems[0]}")


def list_unset(variables: Collection[Variable], known: Collection[str], command: str) -> None:
    """Print the variables that are still not set, with the command that sets one. `{name}` stands for its name."""
    unset = [variable.name for variable in variables if variable.needed and variable.name not in known]
    if unset:
        print_line(f"not set: {', '.join(unset)}")
        print_next(command.replace("{name}", unset[0]))


def require_start(plan: Plan, table: Mapping[str, Any], command: str) -> None:
    """Raise Refused without something to start, and for several directories of which none was chosen."""
    if plan.directories:
        named = ", ".join(plan.directories)
        hint = f"{command} --directory {shlex.quote(plan.directories[0])}"
        raise Refused([f"several directories look like an app: {named}"], hint=hint)
    service = table.get("service", {})
    if not {"entry", "command"} & set(service):
        raise Refused(["nothing here looks like a web app"], hint=f"{command} --entry MODULE:CALLABLE")
