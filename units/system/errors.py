"""What can stand in the way on the host: each with a sentence for people and the next thing to type."""


class HostError(Exception):
    """Something cannot be done on this host; `hint` is what to type next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Refused(HostError):
    """Nothing was changed, for these reasons: all of them at once."""

    def __init__(self, reasons: list[str], *, hint: str | None = None) -> None:
        super().__init__("nothing was changed:\n" + "\n".join(f"  {reason}" for reason in reasons), hint=hint)
        self.reasons = reasons
