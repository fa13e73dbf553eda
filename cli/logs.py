"""Log lines: readable on a terminal, JSON elsewhere. Each has an `action` that never changes, and the ids.

Libraries log from WARNING on. What commands print is not mixed with log lines of theirs.
"""

from __future__ import annotations

import logging
import sys

OURS = ("bus", "services", "api", "cli")
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object for each line."""

    def format(self, record: logging.LogRecord) -> str:
        from datetime import UTC, datetime

        import msgspec

        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in record.__dict__.items() if key not in _OWN},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def of_services() -> None:
    """Send the log lines of services to standard error."""
    if sys.stderr.isatty():
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    else:
        formatter = JsonFormatter()
    _send(formatter, libraries=logging.WARNING)


def of_commands() -> None:
    """Send the warnings of a command to standard error, in the form of its own errors."""
    _send(logging.Formatter("flows: %(message)s"), libraries=logging.ERROR)


def _send(formatter: logging.Formatter, *, libraries: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=libraries, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
