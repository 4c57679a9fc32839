"""Reads a plan that a process without rights printed. A parent with rights trusts no text of it."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator

_KEYS: Final = (
    r"service\.(?:directory|entry|worker_class|command|listen|workers|threads)|dependencies\.(?:file|python|extras|groups)|"
    r"build\.(?:commands|environment)|release\.commands|(?:processes|timers)\.[a-z][a-z0-9-]{0,31}|"
    r"shared\.(?:directories|files)|site\.static|health\.(?:page|status)"
)
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:[1-9]\d{1,4}")
_MAX_BYTES: Final = 1 << 20


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text without control characters")
    return text


Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Short = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
Texts = Annotated[list[Text], Field(max_length=200)]
Commands = Annotated[list[Texts], Field(max_length=50)]
Table = Annotated[dict[Short, Text | Texts], Field(max_length=200)]


class _Finding(BaseModel, frozen=True, extra="forbid"):
    key: Annotated[str, Field(pattern=f"^(?:{_KEYS})$")]
    value: Annotated[int, Field(ge=0, le=100_000)] | Text | Texts | Commands | Table
    source: Text
    proposed: bool

    @model_validator(mode="after")
    def _listens_here(self) -> Self:
        if self.key == "service.listen" and not _ADDRESS.fullmatch(str(self.value)):
            raise ValueError("a port of this host alone")
        return self


class _Variable(BaseModel, frozen=True, extra="forbid"):
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
    source: Text
    needed: bool
    example: Text | None
    secret: bool


class _Plan(BaseModel, frozen=True, extra="forbid"):
    kind: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    findings: Annotated[list[_Finding], Field(max_length=200)]
    variables: Annotated[list[_Variable], Field(max_length=400)]
    remarks: Annotated[list[Text], Field(max_length=100)]
    directories: Annotated[list[Short], Field(max_length=100)]


_ADAPTER: Final = TypeAdapter(_Plan)


def read_plan(text: str) -> dict[str, Any]:
    """Return the fields of a plan. Raises ValueError."""
    from units.finders.finding import Finding, Variable

    if len(text) > _MAX_BYTES:
        raise ValueError("a plan of at most 1 MiB")
    parsed = _ADAPTER.validate_json(text, strict=True)
    return {
        "kind": parsed.kind,
        "findings": tuple(Finding(**one.model_dump()) for one in parsed.findings),
        "variables": tuple(Variable(**one.model_dump()) for one in parsed.variables),
        "remarks": tuple(parsed.remarks),
        "directories": tuple(parsed.directories),
    }
