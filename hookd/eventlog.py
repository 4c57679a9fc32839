"""The log of hookd's programs: one event per line, as JSON for the journal, as text for a terminal.

An event is a name and fields. Text of unknown origin is only the value of a field, cut and escaped, so that it can
neither end a line nor imitate another field.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from hookd.model.text import printable, truncate

_MAX_LENGTH: Final = 2000
_MAX_TRACE_LENGTH: Final = 16_000
_OWN: Final = "hookd_event"


def event(log: logging.Logger, name: str, level: int = logging.INFO, *, trace: bool = False, **fields: Any) -> None:
    """Log an event. `trace` adds the traceback of the current exception."""
    known = {key: value for key, value in fields.items() if value is not None}
    log.log(level, name, exc_info=trace, extra={_OWN: known})


class JsonFormatter(logging.Formatter):
    """Formats an event as one line of ASCII JSON."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        fields = {key: _shortened(value) for key, value in {**head, **_event_fields(record)}.items()}
        return json.dumps({**fields, **_trace(self, record)})


class TextFormatter(logging.Formatter):
    """Formats an event as `LEVEL logger event key=value`, with the lines of a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _event_fields(record)
        name, text = fields.pop("event"), fields.pop("text", None)
        values = "".join(f" {key}={_format_value(value)}" for key, value in fields.items())
        line = f"{record.levelname} {record.name} {name if text is None else _format_value(text)}{values}"
        trace = _trace(self, record).get("traceback", "")
        return "\n".join([line, *(f"    {printable(below)}" for below in trace.splitlines())])


def _event_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the event and its fields. A library's record is the event `message`."""
    fields = getattr(record, _OWN, None)
    if fields is None:
        return {"event": "message", "text": record.getMessage()}
    return {"event": record.msg, **fields}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    text = formatter.formatException(record.exc_info)
    return {"traceback": text[-_MAX_TRACE_LENGTH:].encode("utf-8", "replace").decode()}  # The error is at the end.


def _shortened(value: Any) -> Any:
    """Return a number as it is, and everything else as text of limited length."""
    if isinstance(value, bool | int):
        return value
    return truncate(str(value), _MAX_LENGTH)


def _format_value(value: Any) -> str:
    """Return a value on one line, quoted and escaped if it holds more than plain characters."""
    text = str(_shortened(value))
    return text if text.isprintable() and not (" " in text and "=" in text) else json.dumps(text)


def is_journal_attached() -> bool:
    """Return True if systemd's journal reads standard error (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def choose_formatter() -> logging.Formatter:
    """Return the formatter for the reader of standard error."""
    return JsonFormatter() if is_journal_attached() else TextFormatter()


def start() -> None:
    """Send all events of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(choose_formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
