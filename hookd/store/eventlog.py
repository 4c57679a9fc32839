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
_OWN: Final = "hookd_event"


def event(log: logging.Logger, name: str, level: int = logging.INFO, *, trace: bool = False, **fields: Any) -> None:
    """Log an event; `trace` adds the traceback of the exception that is being handled."""
    known = {key: value for key, value in fields.items() if value is not None}
    log.log(level, name, exc_info=trace, extra={_OWN: known})


class _Json(logging.Formatter):
    """One JSON object per line, ASCII alone."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        found = {**head, **_said(record), **_trace(self, record)}
        return json.dumps({key: _short(value) for key, value in found.items()}, default=str)


class _Plain(logging.Formatter):
    """`LEVEL logger event key=value`, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        said = _said(record)
        name = said.pop("event")
        text = said.pop("text", None)
        fields = "".join(f" {key}={_readable(value)}" for key, value in said.items())
        trace = _trace(self, record).get("traceback")
        whole = f"{record.levelname} {record.name} {_readable(text) if text is not None else name}{fields}"
        return f"{whole}\n{trace}" if trace else whole


def _said(record: logging.LogRecord) -> dict[str, Any]:
    """The event and its fields; what a library logs is an event called `message`."""
    fields = getattr(record, _OWN, None)
    if fields is None:
        return {"event": "message", "text": record.getMessage()}
    return {"event": record.msg, **fields}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    return {"traceback": formatter.formatException(record.exc_info)}


def _short(value: Any) -> Any:
    return f"{value[:_LONGEST]}…" if isinstance(value, str) and len(value) > _LONGEST else value


def _readable(value: Any) -> str:
    """A value on one line: quoted and escaped when it holds anything but plain characters."""
    text = str(_short(value))
    return text if text.isprintable() and not (" " in text and "=" in text) else json.dumps(text)


def reads_journal() -> bool:
    """Tell whether systemd's journal reads what is written to standard error (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def formatter() -> logging.Formatter:
    """What suits whoever reads standard error."""
    return _Json() if reads_journal() else _Plain()


def start(level: int = logging.INFO) -> None:
    """Send all events of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
