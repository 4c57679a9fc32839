"""Prints the plan of a repository: each value with the place where it was read and the option that overrules it."""

import shlex
from collections.abc import Collection, Mapping
from typing import Any, Final

import click

from hookd.cli.common import print_line, styled
from hookd.model.plan import Finding, Plan
from units.apps.repository.inspection import Head
from units.apps.table.findings import PAGE, is_of_health
from units.cli.plan.variables import is_own_secret

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


def show_plan(repository: str, head: Head, plan: Plan, given: Collection[str] = ()) -> None:
    """Print a plan: each value, the place where it was read, and the option that overrules it.

    `given` are keys that a person has set.
    """
    source = f"{repository}, branch {head.branch}, commit {head.commit[:12]}"
    print_line(f"\nFound in {source}: {plan.kind}", bold=True)
    left_out = {*given, *(finding.key for finding in plan.findings if PAGE in given and is_of_health(finding))}
    findings = [finding for finding in plan.findings if finding.key not in left_out]
    _show_findings([finding for finding in findings if not finding.proposed])
    if proposed := [finding for finding in findings if finding.proposed]:
        print_line("Proposed, because it runs a command or moves data:", bold=True)
        _show_findings(proposed)
    if needed := [variable for variable in plan.variables if variable.needed]:
        print_line("Variables to set, with the value that --yes takes:", bold=True)
        for variable in needed:
            suggested = "random" if is_own_secret(variable.name) else variable.example or ""
            print_line(f"  {variable.name:<28} {suggested:<{_VALUE_WIDTH}} {variable.source}".rstrip())
    for remark in plan.remarks:
        print_line(f"  note: {remark}")


def _show_findings(findings: list[Finding]) -> None:
    for finding in findings:
        option = _OPTIONS.get(finding.key, f"--set {finding.key}=…")
        value, where = _shown(finding.key, finding.value), styled(f"{finding.source}  {option}", dim=True)
        gap = "" if len(value) < _VALUE_WIDTH else f"\n{'':<{_TITLE_WIDTH + 3}}"
        title = f"{_title(finding.key):<{_TITLE_WIDTH}}"  # Filled up first, because colours have a length, too.
        click.echo(f"  {styled(title)} {styled(f'{value:<{_VALUE_WIDTH}}')}{gap}{where}")


def _title(key: str) -> str:
    for start, title in _TITLES.items():
        if key.startswith(start):
            return f"{title}{key.removeprefix(start)}" if start.endswith(".") else title
    return key


def _shown(key: str, value: Any) -> str:
    """Return a value as a person reads it: commands as command lines."""
    match value:
        case {"command": [*words], **more}:
            return ", ".join((shlex.join(map(str, words)), *(f"{name}={inner}" for name, inner in more.items())))
        case [[*_], *_]:
            return " && ".join(shlex.join(map(str, words)) for words in value)
        case [*words] if key == "service.command":
            return shlex.join(map(str, words))
        case list() | tuple():
            return ", ".join(map(str, value))
        case Mapping() if key == "site.static":
            return ", ".join(f"{url} from {directory}" for url, directory in value.items())
        case Mapping():
            return " ".join(f"{name}={inner}" for name, inner in value.items())
        case _:
            return str(value)
