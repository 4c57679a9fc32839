"""Refused requests.

Refusal          a status and a reason for the caller
└ BadSignature   the one 401 for every unknown app and every bad signature
"""


class Refusal(Exception):
    """A refused request, with the status and the reason of the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BadSignature(Refusal):
    """A missing, malformed or wrong signature, or an unknown app.

    `check` and `detail` name the failed check for the operator alone, because it would help an attacker.
    """

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(401, "invalid signature")
        self.check = check
        self.detail = detail
