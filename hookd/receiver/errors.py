"""How the receiver says no."""

from enum import StrEnum


class SignatureCheck(StrEnum):
    """Which check an unsigned request failed; for the operator alone, since it would help whoever guesses."""

    APP = "no such app"
    HEADER = "no signature"
    SHAPE = "malformed signature"
    FORM = "unsignable form"
    DIGEST = "wrong signature"


class Refusal(Exception):
    """A request that is not accepted: the status to answer with, and why, in one sentence that gives nothing away."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BadSignature(Refusal):
    """The one answer to every unknown app and every signature that is missing, malformed or wrong."""

    def __init__(self, check: SignatureCheck, told: str) -> None:
        super().__init__(401, "the signature does not fit")
        self.check = check
        self.told = told
