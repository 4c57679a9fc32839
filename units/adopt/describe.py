"""Says what an adoption will do, before anything is done; pure."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Final

from units.adopt.decide import RESERVED
from units.adopt.discovery.variables import REPLACED_VARIABLES
from units.adopt.facts import ProjectFacts
from units.adopt.state import Adoption, state_path

_MAX_SHOWN: Final = 40


def describe_plan(facts: ProjectFacts, adoption: Adoption, preview: Iterable[str]) -> Iterator[str]:
    """The plan for people."""
    yield from _describe_app(facts, adoption)
    yield from _describe_files(facts, adoption)
    yield from _describe_changes(facts, adoption)
    yield "\nOn this host (+ is new or changed):"
    yield from (f"  {line}" for line in preview)
    yield from _describe_nginx(adoption)
    yield "\nIn this order:"
    yield from (f"  {number}. {line}" for number, line in enumerate(_describe_steps(adoption), start=1))


def _describe_app(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    app = adoption.app
    yield f"hookd takes over {facts.checkout.root} as the app {adoption.name}:"
    yield f"  repository     {app.repository}, branch {app.branch}"
    yield f"  first release  {adoption.commit[:12]}, the commit that runs now"
    yield f"  service        {adoption.unit}.service, as {facts.person.name}; its own file stays as it is"
    yield f"  gunicorn       {app.service.entry}, {app.service.workers} workers, {app.service.threads} threads"
    yield f"  health         {adoption.page} answers 200 (Host: {adoption.host})"
    yield f"  policy         {app.ownership.policy}, group {app.ownership.group}; change it with --policy"
    yield f"  visitors       {_describe_entrance(adoption)}"


def _describe_entrance(adoption: Adoption) -> str:
    olds = ", ".join(adoption.olds)
    match adoption.way:
        case "nginx":
            return f"come through nginx, which is led from {olds} to {adoption.app.service.listen}: no request fails"
        case "held":
            return f"come through {adoption.unit}.socket, which stays as it is: no request fails"
        case "direct":
            return f"come straight to {olds}: for a moment they are REFUSED or cut off, while it changes hands"


def _describe_files(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    yield f"\nWhat git does not track stays where it is, in {adoption.root}:"
    titles = {
        "file": "linked into each release, for the app to read",
        "data": "linked into each release, for the app to write",
        "left": "not in releases",
    }
    for kind, title in titles.items():
        found = [one for one in facts.loose if one.kind == kind]
        yield f"  {title}: {'none' if not found else ''}".rstrip()
        yield from (f"    {one.path}  ({one.why})" for one in found[:_MAX_SHOWN])
        if len(found) > _MAX_SHOWN:
            yield f"    and {len(found) - _MAX_SHOWN} more"
    for name in adoption.open_data:
        yield f"  {name} is opened for {facts.person.name}, who cannot write to it: 2770"
    if facts.checkout.changed:
        yield f"  changed against the commit, and NOT in the release: {', '.join(facts.checkout.changed[:_MAX_SHOWN])}"


def _describe_changes(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    """What will be otherwise than it was."""
    yield "\nWhat changes for the service:"
    yield f"  variables are in /etc/hookd/env/{adoption.name} from now on{_sources(facts)}"
    if facts.gunicorn:
        yield from (f"  NOT taken over: {one}" for one in facts.gunicorn.dropped)
    yield from (f"  no longer run: {hook}" for hook in facts.service.hooks)
    leading = [name for name in REPLACED_VARIABLES if name in facts.variables]
    if leading:
        yield f"  {', '.join(leading)}: set for the release's own environment"
    if adoption.way == "nginx":
        yield f"  nothing listens at {', '.join(adoption.olds)} any more: whatever else asks there must be told"
    if facts.others:
        current = f"{adoption.root}/current"
        yield f"  {', '.join(facts.others)} go on with the OLD code in {adoption.root}: lead them to {current} yourself"
    if facts.mentions:
        yield f"  {', '.join(map(str, facts.mentions))} name {adoption.root}: look whether what they say still holds"
    if any(path.startswith(".gitmodules") for path in facts.checkout.tracked):
        yield "  submodules stay EMPTY in releases"


def _sources(facts: ProjectFacts) -> str:
    return f", copied from {', '.join(map(str, facts.texts))}" if facts.texts else ""


def _describe_nginx(adoption: Adoption) -> Iterator[str]:
    for change in adoption.changes:
        yield ""
        before, after = change.before.splitlines(), change.after.splitlines()
        yield from difflib.unified_diff(before, after, str(change.path), f"{change.path}, new", lineterm="", n=1)


def _describe_steps(adoption: Adoption) -> Iterator[str]:
    bridge, unit = adoption.interim_unit, adoption.unit
    yield f"the commit that runs now is built aside and started as {bridge}.service, beside the old process"
    yield "it must pass its health check; until then nothing changes for visitors"
    match adoption.way:
        case "nginx":
            yield "nginx is led to it; the old process ends the requests that it has"
        case "held":
            yield f"it takes requests from {unit}.socket, beside the old process"
        case "direct":
            yield f"the old process stops, and {unit}.socket takes its address over"
    yield f"{unit}.service restarts in the release and must pass its health check; then {bridge}.service goes"
    yield "whenever one of these fails, visitors are led back to the old process, and the rest is undone"


def describe_result(adoption: Adoption) -> Iterator[str]:
    """What to know when it is done."""
    own = ", ".join(RESERVED)
    yield f"\n{adoption.name} is taken over: a push deploys it from now on."
    yield f"  Do not run an old deploy script any more: `git clean` in {adoption.root} would delete {own}."
    yield f"  The old checkout and its environment in {adoption.root} are not used any more, and stay."
    yield f"  Changed files of nginx's, as they were, are kept in {state_path(adoption.name)}"
    yield f"  next: sudo hookd status {adoption.name}; sudo hookd permissions {adoption.name}"
