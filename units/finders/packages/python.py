"""The version of Python that a project asks for, matched with the interpreters of the host."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.nested import table
from hookd.model.plan import Finding
from hookd.model.python_version import fitting_minors, pinned_minor
from units.finders.code.project import Project
from units.finders.code.requirements import setup_calls
from units.finders.code.syntax import keyword, text_of
from units.finders.found import Found
from units.finders.repository.containers import dockerfiles

_IMAGE: Final = re.compile(r"(?:\S*/)?python:(\d+\.\d+)\S*(?:\s.*)?", re.IGNORECASE)
_LOCKED: Final = re.compile(r'(?m)^requires-python = "([^"]+)"')
# Django's oldest Python by its major version (https://docs.djangoproject.com/en/stable/faq/install/).
_DJANGO: Final = {4: 8, 5: 10, 6: 12}


@dataclass(frozen=True)
class Wanted:
    """The minor versions of Python 3 that fit. A `hard` rule is enforced by the installer."""

    text: str
    minors: frozenset[int]
    source: str
    hard: bool


def find_python(project: Project, interpreters: Mapping[str, str], install: HintKind) -> Found:
    """Choose the version for the environment, and say how to `install` one that the host lacks."""
    wishes = list(_wishes(project))
    if not wishes:
        return Found()
    allowed = fitting_minors(">=3").intersection(*(one.minors for one in wishes if one.hard))
    wish = next((one for one in wishes if not one.hard), wishes[0])
    exact = _exact(wish, allowed)
    if not interpreters:
        return _without_host(wish, exact)
    host = {int(name.removeprefix("3.")) for name in interpreters if re.fullmatch(r"3\.\d+", name)}
    chosen = _nearest(host & allowed, min(wish.minors or allowed), host & exact, interpreters)
    if chosen is None:
        wanted = f"3.{min(allowed or wish.minors)}"
        hard = next((one for one in wishes if one.hard), wish)
        command = render_hint(Hint(install, wanted), "")
        remark = f"{hard.source} asks for Python {hard.text}, which this host lacks: {command}."
        return Found((Finding("dependencies.python", wanted, hard.source),), remarks=(remark,))
    found = Finding("dependencies.python", f"3.{chosen}", wish.source)
    if chosen in exact:
        return Found((found,))
    command = render_hint(Hint(install, f"3.{min(wish.minors)}"), "")
    remark = (
        f"{wish.source} asks for Python {wish.text}, and 3.{chosen} is the nearest here. "
        f"If packages fail: {command}, then dependencies.python."
    )
    return Found((found,), remarks=(remark,))


def _exact(wish: Wanted, allowed: frozenset[int]) -> frozenset[int]:
    """Return the allowed versions that fit a wish, or all of them if none does."""
    if wish.hard:
        return allowed
    return wish.minors & allowed or allowed


def _without_host(wish: Wanted, exact: frozenset[int]) -> Found:
    """Return the one version that fits. Of several the host's own is used."""
    if len(exact) != 1:
        return Found()
    return Found((Finding("dependencies.python", f"3.{min(exact)}", wish.source),))


def _nearest(usable: set[int], wanted: int, exact: set[int], interpreters: Mapping[str, str]) -> int | None:
    """Return the fitting version: the system's own, else the lowest. Without one the nearest newer, then older."""
    if exact:
        system = {minor for minor in exact if interpreters.get(f"3.{minor}", "").startswith("/usr/bin/")}
        return max(system) if system else min(exact)
    newer = {minor for minor in usable if minor >= wanted}
    return min(newer) if newer else max(usable, default=None)


def _wishes(project: Project) -> Iterator[Wanted]:
    """Return all rules of the project, the first that counts first."""
    for path in (".python-version", "runtime.txt"):
        if wanted := _version(next(iter(project.lines(path)), ""), project.place(path)):
            yield wanted
    pyproject = project.toml("pyproject.toml")
    locked = _LOCKED.search((project.read("uv.lock") or "")[:2000])
    rules = (
        ("pyproject.toml", table(pyproject, "project").get("requires-python")),
        ("pyproject.toml", table(pyproject, "tool", "poetry", "dependencies").get("python")),
        ("uv.lock", locked[1] if locked else None),
        ("setup.cfg", project.ini("setup.cfg").get("options", "python_requires", fallback=None)),
        *(("setup.py", text_of(keyword(call, "python_requires"))) for call in setup_calls(project)),
    )
    for path, rule in rules:
        if isinstance(rule, str) and (minors := fitting_minors(rule)):
            yield Wanted(rule, minors, project.place(path), hard=True)
    yield from _pipfile(project)
    if (django := _django(project)) is not None:
        yield django
    for dockerfile in dockerfiles(project):
        image, place = dockerfile.last.get("FROM", ("", ""))
        if (match := _IMAGE.fullmatch(image)) and (wanted := _version(match[1], place)):
            yield wanted


def _version(text: str, source: str) -> Wanted | None:
    minor = pinned_minor(text)
    return Wanted(minor, frozenset((int(minor.removeprefix("3.")),)), source, hard=False) if minor else None


def _pipfile(project: Project) -> Iterator[Wanted]:
    requires = table(project.toml("Pipfile"), "requires")
    locked = table(project.json("Pipfile.lock"), "_meta", "requires")
    for path, given in (("Pipfile", requires), ("Pipfile.lock", locked)):
        text = given.get("python_full_version") or given.get("python_version")
        if isinstance(text, str) and (wanted := _version(text, project.place(path))):
            yield wanted


def _django(project: Project) -> Wanted | None:
    pin = re.match(r"(?i)django\s*(?:\[[^\]]*\])?\s*(?:==|~=|>=)\s*(\d+)", project.packages.get("django", ""))
    oldest = _DJANGO.get(int(pin[1])) if pin else None
    if pin is None or oldest is None:
        return None
    rule = f">=3.{oldest}"
    return Wanted(rule, fitting_minors(rule), f"Django {pin[1]}", hard=True)
