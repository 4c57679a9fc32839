"""Errors of server commands, with a hint."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A cause against a command or a state, and the command that mends it."""

    cause: str
    hint: str

    def __str__(self) -> str:
        return f"{self.cause}\n    next: {self.hint}"


class HostError(Exception):
    """A command cannot continue on this host. `hint` is the next command."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Refused(HostError):
    """A command found problems before its first change."""

    def __init__(self, reasons: list[str], *, hint: str | None = None) -> None:
        super().__init__("nothing was changed:\n" + "\n".join(f"  {reason}" for reason in reasons), hint=hint)
        self.reasons = reasons
