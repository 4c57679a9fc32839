"""Files of variables: they exist, and systemd reads no line otherwise than it looks."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.commands import edit_command
from hookd.model.app import App
from hookd.model.units.phases import phases_of
from hookd.variables import UnusableVariables, find_problems, parse
from units.apps.accounts.unit_users import unit_variables
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import CannotCheck, Finding, error, warning
from units.system import disk, layout

_MAX_SHOWN: Final = 8


def check(_context: HostContext) -> Iterator[Finding]:
    """Check the worker's own variables."""
    if disk.status(layout.WORKER_ENVIRONMENT) is not None:
        for problem in _problems(layout.WORKER_ENVIRONMENT):
            yield warning(problem, edit_command(str(layout.WORKER_ENVIRONMENT)))


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's variables, without which no deployment starts."""
    for path in app.variable_files:
        edit = edit_command(str(path))
        if disk.status(path) is None:
            yield error(f"the variables of {app.name} are missing: {path}", edit)
        else:
            yield from (error(problem, edit) for problem in _problems(path))
    yield from _check_own_units(context, app)


def _check_own_units(context: HostContext, app: App) -> Iterator[Finding]:
    """Report variables that a person's unit sets itself, because phases read the file alone."""
    if app.service.units != "existing" or not {"check", "release"} & set(phases_of(app)):
        return
    file = app.service.environment_file
    known = _names(file) if file else frozenset()
    for unit in (f"{name}.service" for name in sorted(app.services)):
        if context.unit(unit).load != "loaded":
            continue  # The services check reports it.
        if missing := ", ".join(sorted(unit_variables(app, unit) - known)):
            message = f"{unit} sets {missing} itself, so checks and release commands lack it"
            yield warning(message, edit_command(str(file)) if file else _name_file(app))


def _names(path: Path) -> frozenset[str]:
    """Return the names in a file of variables, or none if systemd refuses it."""
    with suppress(UnusableVariables):
        return frozenset(parse((disk.read(path) or b"").decode("utf-8", "replace")))
    return frozenset()


def _name_file(app: App) -> str:
    path = layout.app_environment(app.name)
    return f"sudo hookd app edit {app.name} --set service.environment_file={path} && sudoedit {path}"


def _problems(path: Path) -> list[str]:
    content = disk.read(path)
    if content is None:
        raise CannotCheck(f"you may not read {path}", AS_ROOT)
    problems = find_problems(content)
    more = len(problems) - _MAX_SHOWN
    shown = [f"{path} {problem}" for problem in problems[:_MAX_SHOWN]]
    return [*shown, f"{path}: {more} more lines are misread"] if more > 0 else shown
