"""The plan of a repository: keys of the app's file, variables, and remarks for a person."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from hookd.model.hint import HintKind
from hookd.model.plan import Finding, Plan, is_valid
from units.finders.code.project import Project
from units.finders.commands.build import find_build
from units.finders.commands.processes import find_processes
from units.finders.commands.release import find_release
from units.finders.data.variables import find_variables
from units.finders.data.written import find_data, outermost
from units.finders.found import Found
from units.finders.packages.lists import find_dependencies
from units.finders.packages.python import find_python
from units.finders.repository.tree import Tree
from units.finders.web.directory import find_apps
from units.finders.web.health import find_health
from units.finders.web.service import Service, find_service, with_modules
from units.finders.web.static import find_static

_NO_INTERPRETERS: Final[Mapping[str, str]] = MappingProxyType({})


def find_plan(
    tree: Tree,
    directory: str | None = None,
    interpreters: Mapping[str, str] = _NO_INTERPRETERS,
    today: datetime.date = datetime.date.min,
    install: HintKind = HintKind.INSTALL_PYTHON,
) -> Plan:
    """Find the plan of a repository.

    `interpreters` are those of the host, the version and the path. `install` is the command for another one.
    """
    if "cookiecutter.json" in tree.paths:
        return Plan("unknown", remarks=("This repository is a template: run cookiecutter on it, and push its output.",))
    apps = find_apps(tree) if directory is None else _app_in(Project(tree, directory))
    if len(apps) > 1:
        listed = tuple(project.directory for project, _ in apps if project.directory)
        return Plan("unknown", remarks=("Several directories can be served: name one.",), directories=listed)
    if not apps:
        return Plan("unknown", remarks=(_why_unknown(tree, directory),))
    (project, service) = apps[0]
    service = with_modules(project, service)
    source = "the directory that was named" if directory else "the only directory with an app"
    packages = [find_dependencies(project, today), find_python(project, interpreters, install)]
    variables, *others = _all(project, service, packages)
    parts = [_directory(project, source), service.found, *others, variables]
    remarks = dict.fromkeys(remark for one in parts for remark in one.remarks)
    return Plan(
        service.kind,
        tuple(filter(is_valid, _merged(finding for one in parts for finding in one.findings))),
        tuple(filter(is_valid, variables.variables)),
        tuple(filter(is_valid, remarks)),
    )


def _directory(project: Project, source: str) -> Found:
    if not project.directory:
        return Found()
    return Found((Finding("service.directory", project.directory, source),))


def _all(project: Project, service: Service, packages: list[Found]) -> list[Found]:
    """Run the finders, and return the variables before the others' parts, which know some variables better."""
    release, data = find_release(project, service), find_data(project, service)
    variables = find_variables(project, service, (*service.found.variables, *release.variables, *data.variables))
    processes = find_processes(project, service)
    shared = _shared((service.found, data, processes))
    return [
        variables,
        *packages,
        find_build(project, service, variables.variables),
        release,
        processes,
        data,
        find_static(project, service, shared),
        find_health(project, service),
    ]


def _shared(parts: Iterable[Found]) -> tuple[str, ...]:
    listed = (one.value for part in parts for one in part.findings if one.key == "shared.directories")
    return tuple(directory for directories in listed for directory in directories)


def _merged(findings: Iterable[Finding]) -> Iterable[Finding]:
    """Return one finding for each key. Lists of directories are joined."""
    found: dict[str, Finding] = {}
    for one in findings:
        before = found.get(one.key)
        if before is None:
            found[one.key] = one
        elif one.key == "shared.directories":
            value = outermost([*before.value, *one.value])
            found[one.key] = replace(before, value=value, source=f"{before.source}, {one.source}")
    return found.values()


def _app_in(project: Project) -> tuple[tuple[Project, Service], ...]:
    service = find_service(project)
    return () if service.kind == "unknown" else ((project, service),)


def _why_unknown(tree: Tree, directory: str | None) -> str:
    """Return a sentence with the way out for a repository without an app."""
    paths = [path for path in tree.paths if path.startswith(f"{directory}/" if directory else "")]
    if not paths:
        return f"The commit has no directory {directory}." if directory else "The commit has no files."
    if not any(path.endswith(".py") for path in paths):
        return "The commit has no Python, which hookd needs."
    return "No web app was found: name it, as in service.entry=shop.wsgi:app, or service.command for an own server."
