"""The plan of a repository: what hookd found in it, with the places where it was read.

A process without rights makes a plan, and a process with rights reads its JSON and trusts no text of it.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

_KEYS: Final = (
    r"service\.(?:directory|entry|worker_class|command|listen|workers|threads)|dependencies\.(?:file|python|extras|groups)|"
    r"build\.(?:commands|environment)|release\.commands|(?:processes|timers)\.[a-z][a-z0-9-]{0,31}|"
    r"shared\.(?:directories|files)|site\.static|health\.(?:page|status)"
)
# Variables by which hookd, systemd and the loader of programs work. No commit sets them.
_OF_THE_HOST: Final = re.compile(r"(?:HOOKD|LD|LISTEN)_\w+|NOTIFY_SOCKET")
_VERSION: Final = re.compile(r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?")
# Names the top of a repository, where a person types a directory.
TOP: Final = "."
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:[1-9]\d{1,4}")
_MAX_BYTES: Final = 1 << 20
# A value is checked again where it stands in another one.
_STRICT: Final = ConfigDict(extra="forbid", strict=True, revalidate_instances="always")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text without control characters")
    return text


def _own(name: str) -> str:
    if _OF_THE_HOST.fullmatch(name):
        raise ValueError("a variable that the app may set")
    return name


_Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
_Short = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
_Texts = Annotated[list[_Text], Field(max_length=200)]
_Commands = Annotated[list[_Texts], Field(max_length=50)]
_Table = Annotated[dict[_Short, _Text | _Texts], Field(max_length=200)]
_VALUE: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[int, Field(ge=0, le=100_000)] | _Text | _Texts | _Commands | _Table, config=ConfigDict(strict=True)
)


@dataclass(frozen=True)
class Finding:
    """A key of the app's file. A `proposed` one runs, moves or adds something, so a person agrees first."""

    __pydantic_config__ = _STRICT

    key: Annotated[str, Field(pattern=f"^(?:{_KEYS})$")]
    value: Annotated[Any, AfterValidator(_VALUE.validate_python)]
    source: _Text
    proposed: bool = False

    @model_validator(mode="after")
    def _stays_in_bounds(self) -> Self:
        if self.key == "service.listen" and not _ADDRESS.fullmatch(str(self.value)):
            raise ValueError("a port of this host alone")
        if self.key == "dependencies.python" and not _VERSION.fullmatch(str(self.value)):
            raise ValueError("a version, and no program")
        return self


@dataclass(frozen=True)
class Variable:
    """A variable that the app reads. A `needed` one has no default in the code.

    In `example` the text `{shared}` stands for the app's shared directory, and `{domain}` for its domain.
    """

    __pydantic_config__ = _STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"), AfterValidator(_own)]
    source: _Text
    needed: bool = False
    example: _Text | None = None
    secret: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything found. With `directories` a person must name one, and there are no findings."""

    __pydantic_config__ = _STRICT

    kind: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    findings: Annotated[tuple[Finding, ...], Field(max_length=200)] = ()
    variables: Annotated[tuple[Variable, ...], Field(max_length=400)] = ()
    remarks: Annotated[tuple[_Text, ...], Field(max_length=100)] = ()
    directories: Annotated[tuple[_Short, ...], Field(max_length=100)] = ()

    def to_json(self) -> str:
        """Return the plan as one line of JSON."""
        return _PLAN.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Read a plan that a process without rights printed. Raises ValueError."""
        if len(text) > _MAX_BYTES:
            raise ValueError("a plan of at most 1 MiB")
        return _PLAN.validate_json(text)


def is_valid(one: Finding | Variable | str) -> bool:
    """Return True if the reader of a plan accepts a value, such as a remark. A terminal obeys none of its texts."""
    try:
        _VALUES.validate_python(one)
    except ValidationError:
        return False
    return True


_PLAN: Final = TypeAdapter(Plan)
_VALUES: Final[TypeAdapter[Any]] = TypeAdapter(Finding | Variable | _Text)
