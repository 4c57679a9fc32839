"""Text of an adoption for people: the decisions before any change, and the result."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Final

from units.adopt.discover import ProjectFacts
from units.adopt.discovery.untracked import RESERVED
from units.adopt.discovery.variables import REPLACED_VARIABLES
from units.adopt.state import Adoption, state_path

_MAX_SHOWN: Final = 40
_KINDS: Final = {
    "file": "linked into each release, the app can read them",
    "data": "linked into each release, the app can write them",
    "left": "not in releases",
}


def describe_adoption(facts: ProjectFacts, adoption: Adoption, preview: Iterable[str]) -> Iterator[str]:
    """Return the lines of an adoption. `preview` are the changes of the host."""
    yield from _describe_app(facts, adoption)
    yield from _describe_files(facts, adoption)
    yield from _describe_changes(facts, adoption)
    yield "\nOn this host (+ is new or changed):"
    yield from (f"  {line}" for line in preview)
    for change in adoption.changes:
        yield ""
        before, after = change.before.splitlines(), change.after.splitlines()
        yield from difflib.unified_diff(before, after, str(change.path), f"{change.path}, new", lineterm="", n=1)
    yield from _describe_steps(adoption)


def _describe_app(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    app = adoption.app
    yield f"hookd adopts {facts.checkout.root} as the app {adoption.name}:"
    yield f"  repository     {app.repository}, branch {app.branch}"
    yield f"  first release  {adoption.commit[:12]}, the running commit"
    yield f"  service        {adoption.unit}.service, as {facts.user.name}; its own file stays unchanged"
    yield f"  gunicorn       {app.service.entry}, {app.service.workers} workers, {app.service.threads} threads"
    yield f"  health         {adoption.page} answers 200 (Host: {app.health.host})"
    yield f"  policy         {app.ownership.policy}, group {app.ownership.group}; change it with --policy"
    switched = f"nginx switches from {', '.join(facts.listeners)} to {app.service.listen}"
    visitors = f"{adoption.unit}.socket stays" if app.service.own_socket else switched
    yield f"  visitors       {visitors}: no request fails"


def _describe_files(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    yield f"\nUntracked files stay in {adoption.root}:"
    for kind, title in _KINDS.items():
        found = [entry for entry in facts.untracked if entry.kind == kind]
        yield f"  {title}:{'' if found else ' none'}"
        yield from (f"    {entry.path}  ({entry.reason})" for entry in found[:_MAX_SHOWN])
        if len(found) > _MAX_SHOWN:
            yield f"    and {len(found) - _MAX_SHOWN} more"
    if facts.checkout.changed:
        yield f"  uncommitted changes, NOT in the release: {', '.join(facts.checkout.changed[:_MAX_SHOWN])}"


def _describe_changes(facts: ProjectFacts, adoption: Adoption) -> Iterator[str]:
    yield "\nChanges for the service:"
    sources = ", ".join(map(str, facts.environment_files))
    copied = f", copied from {sources}" if sources else ""
    yield f"  variables are in /etc/hookd/env/{adoption.name} from now on{copied}"
    yield from (f"  NOT adopted: {argument}" for argument in facts.gunicorn.dropped)
    yield from (f"  no longer run: {hook}" for hook in facts.service.hooks)
    if replaced := [name for name in REPLACED_VARIABLES if name in facts.variables]:
        yield f"  {', '.join(replaced)}: set for the release's own environment"
    if not adoption.app.service.own_socket:
        yield f"  {', '.join(facts.listeners)} closes: change other clients of it yourself"
    if facts.others:
        current = f"{adoption.root}/current"
        yield f"  {', '.join(facts.others)} keep the OLD code in {adoption.root}: change them to {current} yourself"
    if facts.mentions:
        yield f"  {', '.join(map(str, facts.mentions))} mention {adoption.root}: check them yourself"


def _describe_steps(adoption: Adoption) -> Iterator[str]:
    interim, unit = f"{adoption.interim_unit}.service", adoption.unit
    yield "\nSteps:"
    yield f"  1. build the running commit and start it as {interim}, beside the old process"
    yield "  2. check its health; visitors notice nothing before this succeeds"
    if adoption.app.service.own_socket:
        yield f"  3. let {interim} take requests from {unit}.socket, beside the old process"
    else:
        yield f"  3. switch nginx to {interim}; the old process finishes its requests"
    yield f"  4. restart {unit}.service in the release, check its health, then remove {interim}"
    yield "  5. after a failure: send visitors to the old process and undo the rest"


def describe_result(adoption: Adoption) -> Iterator[str]:
    """Return the lines shown after the adoption."""
    yield f"\n{adoption.name} is adopted: a push deploys it from now on."
    yield f"  Run no old deploy script: `git clean` in {adoption.root} would delete {', '.join(RESERVED)}."
    yield f"  The old checkout and its environment in {adoption.root} stay and are not used any more."
    yield f"  nginx's old files are kept in {state_path(adoption.name)}"
    yield f"  next: sudo hookd status {adoption.name}; sudo hookd permissions {adoption.name}"
