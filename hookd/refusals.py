"""How the receiver says no."""


class Refusal(Exception):
    """A request that is not accepted: the status to answer with, and why, in one sentence that gives nothing away."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def unsigned() -> Refusal:
    """The one answer to every unknown app and every signature that is missing, malformed or wrong."""
    return Refusal(401, "the signature does not fit")
