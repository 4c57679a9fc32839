"""Rules for the version of Python, as projects write them: PEP 440's, and Poetry's `^`, `~` and `||`."""

import re
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

_CLAUSE: Final = re.compile(r"(?P<sign>===?|[<>!~]=|[<>^~])?v?(?P<number>\d{1,4}(?:\.\d{1,4}){0,5})(?P<any>\.\*)?")
_PIN: Final = re.compile(r"(?:c?python[-@]?)?(3\.\d{1,3})(?:\.\d+)?(?:-dev|rc\d+)?", re.IGNORECASE)
_PATCH: Final = re.compile(r"\d+\.\d+\.(\d{1,4})")
# A commit writes the rule, and each clause costs time.
_MAX_LENGTH: Final = 200
# Of Python 3.
_MINORS: Final = range(6, 30)


def to_specifier(rule: str) -> str | None:
    """Return a rule as PEP 440 writes it, or None for another text. One version without a sign means all its patches.

    Alternatives of Poetry (`||`) have no such form.
    """
    if len(rule) > _MAX_LENGTH:
        return None
    parts = re.split(r"[,\s]+", re.sub(r"([<>=!~^])\s+", r"\1", rule).strip(" ,"))
    clauses = [_to_clause(part) for part in parts]
    specifier = ",".join(clause for clause in clauses if clause)
    return specifier if all(clauses) and _read(specifier) is not None else None


def _to_clause(text: str) -> str | None:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        return None
    sign, number = match["sign"] or "==", match["number"]
    major, *minor = number.split(".")
    if sign == "^":
        return f">={number},<{int(major) + 1}"
    if sign == "~":
        return f">={number},<{major}.{int(minor[0]) + 1}" if minor else f">={number},<{int(major) + 1}"
    is_open = match["any"] or (sign == "==" and len(minor) < 2)
    return f"{sign}{number}{'.*' if is_open and sign in ('==', '!=') else ''}"


def _read(specifier: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(specifier, prereleases=True)
    except InvalidSpecifier:
        return None


def fits(version: str, specifier: str) -> bool:
    """Return True if a version such as 3.11.2 fits a rule of PEP 440."""
    found = _read(specifier)
    return found is not None and version in found


def fitting_minors(rule: str) -> frozenset[int]:
    """Return the minor versions of Python 3 whose first release fits a rule, or one that the rule names."""
    found: set[int] = set()
    patches = {0, *(int(patch) + more for patch in _PATCH.findall(rule) for more in (0, 1))}
    for specifier in map(to_specifier, rule.split("||") if len(rule) <= _MAX_LENGTH else ()):
        if specifier:
            found |= {minor for minor in _MINORS if any(fits(f"3.{minor}.{patch}", specifier) for patch in patches)}
    return frozenset(found)


def pinned_minor(text: str) -> str | None:
    """Return the version that a file such as `.python-version` pins: 3.12 for `python-3.12.4`, or None."""
    match = _PIN.fullmatch(text.strip())
    return match[1] if match else None
