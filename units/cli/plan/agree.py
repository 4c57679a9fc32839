"""Asks a person about a plan: the app's table and its variables, before anything is made."""

import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click
import tomlkit

from hookd.cli.common import print_line
from hookd.model.plan import Finding, Plan
from units.cli.plan.variables import Places, ask_variables, is_interactive
from units.system.errors import Refused

accept_option = click.option("--yes", is_flag=True, help="Accept all proposals, and do not ask.")
Findings = tuple[Finding, ...]


@dataclass(frozen=True)
class Proposal:
    """A plan, and what a command makes of it: the app's table, and places in its variables.

    `command` is the typed one, for hints.
    """

    plan: Plan
    make_table: Callable[[Findings], dict[str, Any]]
    places: Places
    command: str


@dataclass(frozen=True)
class Agreement:
    """The findings that a person accepted, or the edited table in their place, and the text of the variables."""

    findings: Findings
    edited: dict[str, Any] | None = None
    variables: str = ""

    def table(self, make_table: Callable[[Findings], dict[str, Any]]) -> dict[str, Any]:
        """Return the app's table."""
        return self.edited or make_table(self.findings)


def settle(proposal: Proposal, variables: str, *, yes: bool, dry_run: bool) -> Agreement:
    """Ask about a plan, and for what the text of its `variables` misses. A dry run asks nothing.

    Raises Refused for a plan with nothing to start, and Abort for a no.
    """
    plan, make_table = proposal.plan, proposal.make_table
    _require_start(plan, make_table(plan.findings), proposal.command)
    agreement = _agree(plan, make_table, yes=yes or dry_run)
    if not dry_run:
        variables = ask_variables(plan.variables, variables, proposal.places, yes=yes)
    return replace(agreement, variables=variables)


def _agree(plan: Plan, make_table: Callable[[Findings], dict[str, Any]], *, yes: bool) -> Agreement:
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


def _require_start(plan: Plan, table: Mapping[str, Any], command: str) -> None:
    """Raise Refused without something to start, and for several directories of which none was chosen."""
    if plan.directories:
        named = ", ".join(plan.directories)
        hint = f"{command} --directory {shlex.quote(plan.directories[0])}"
        raise Refused([f"several directories look like an app: {named}"], hint=hint)
    service = table.get("service", {})
    if not {"entry", "command"} & set(service):
        raise Refused(["nothing here looks like a web app"], hint=f"{command} --entry MODULE:CALLABLE")
