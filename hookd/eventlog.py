"""What hookd's programs say about themselves: one event per line, JSON where the journal reads, plain for people.

An event is a name and fields. A stranger's text is only ever the value of a field, cut and escaped, so it can neither
end a line nor pass for another field.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

_LONGEST: Final = 2000
_LONGEST_TRACE: Final = 16_000
_OWN: Final = "hookd_event"


def event(log: logging.Logger, name: str, level: int = logging.INFO, *, trace: bool = False, **fields: Any) -> None:
    """Log an event; `trace` adds the traceback of the exception that is being handled."""
    known = {key: value for key, value in fields.items() if value is not None}
    log.log(level, name, exc_info=trace, extra={_OWN: known})


class JsonFormatter(logging.Formatter):
    """One JSON object per line, ASCII alone: for the journal."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        said = {key: _shortened(value) for key, value in {**head, **_event_fields(record)}.items()}
        return json.dumps({**said, **_trace(self, record)})


class TextFormatter(logging.Formatter):
    """`LEVEL logger event key=value`, for a terminal; what is indented belongs to the line above."""

    def format(self, record: logging.LogRecord) -> str:
        said = _event_fields(record)
        name = said.pop("event")
        text = said.pop("text", None)
        fields = "".join(f" {key}={_format_value(value)}" for key, value in said.items())
        trace = _trace(self, record).get("traceback")
        whole = f"{record.levelname} {record.name} {_format_value(text) if text is not None else name}{fields}"
        return "\n".join([whole, *(f"    {_printable(line)}" for line in (trace or "").splitlines())])


def _event_fields(record: logging.LogRecord) -> dict[str, Any]:
    """The event and its fields; what a library logs is an event called `message`."""
    fields = getattr(record, _OWN, None)
    if fields is None:
        return {"event": "message", "text": record.getMessage()}
    return {"event": record.msg, **fields}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    whole = formatter.formatException(record.exc_info)
    return {"traceback": whole[-_LONGEST_TRACE:].encode("utf-8", "replace").decode()}  # What happened stands last.


def _shortened(value: Any) -> Any:
    """Keep a number, and bring everything else to text of bounded length; a file name may be no UTF-8."""
    if isinstance(value, bool | int):
        return value
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _format_value(value: Any) -> str:
    """A value on one line: quoted and escaped when it holds anything but plain characters."""
    text = str(_shortened(value))
    return text if text.isprintable() and not (" " in text and "=" in text) else json.dumps(text)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def is_journal_attached() -> bool:
    """Tell whether systemd's journal reads what is written to standard error (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def choose_formatter() -> logging.Formatter:
    """What suits whoever reads standard error."""
    return JsonFormatter() if is_journal_attached() else TextFormatter()


def start(level: int = logging.INFO) -> None:
    """Send all events of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(choose_formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
