"""Keeps credentials out of logs: known secret values, and what looks like a credential in a URL or a header."""

import re
from collections.abc import Mapping
from typing import Final

MASK: Final = "***"
_SHORTEST: Final = 6
_SECRET_NAME: Final = re.compile(r"(?i)secret|token|pass(?:w|phrase|$)|key|credential|dsn|_url$|^url$|auth")
_PATTERNS: Final = (
    re.compile(r"(?<=://)[^/\s]+(?=@)"),
    re.compile(r"(?i)(?<=[?&]token=)[^&\s]+|(?<=access_token=)[^&\s]+|(?<=private_token=)[^&\s]+"),
    re.compile(r"(?i)(?<=authorization: )\S+(?: \S+)?|(?<=bearer )\S+"),
)

# Of `user:pass` in an address what comes before a character that programs take for the end of the host's name.
_CUT_SHORT: Final = re.compile(r"(?:^|://)([^\s/#?:@]+:[^\s/#?@]+)\S*@")


class Redaction:
    """Replaces what must not be read; `environments` are where an app keeps its secrets."""

    def __init__(self, *environments: Mapping[str, str]) -> None:
        variables = [variable for environment in environments for variable in environment.items()]
        secrets = (value for name, value in variables if _SECRET_NAME.search(name))
        # Line by line: that is how output arrives here, and a private key has many lines.
        values = {line.strip() for secret in secrets for line in secret.splitlines()}
        known = {value for value in values if len(value) >= _SHORTEST}
        known |= {match[1] for _, value in variables if (match := _CUT_SHORT.search(value))}
        ordered = sorted(known, key=len, reverse=True)
        self._values = re.compile("|".join(re.escape(value) for value in ordered)) if ordered else None

    def apply(self, text: str) -> str:
        """Return the text with every credential replaced."""
        masked = self._values.sub(MASK, text) if self._values else text
        for pattern in _PATTERNS:
            masked = pattern.sub(MASK, masked)
        return masked
