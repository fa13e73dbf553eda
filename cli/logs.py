"""Log lines: readable on a terminal, JSON elsewhere. Each has an `action` that never changes, and the ids.

Libraries log from WARNING on. What commands print is not mixed with log lines of theirs.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

OURS = ("bus", "services", "api", "cli")
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object for each line."""

    def format(self, record: logging.LogRecord) -> str:
        import json
        from datetime import UTC, datetime

        import msgspec

        from cli.printable import json_line

        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in record.__dict__.items() if key not in _OWN},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            body = msgspec.json.encode(line, enc_hook=str)
        except UnicodeEncodeError:  # the name of a file that is no text
            body = json.dumps(line, default=str).encode()
        return json_line(body)


class PlainFormatter(logging.Formatter):
    """Lines for people. What a message is made of may come from anywhere: it stays one line, and moves no cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the library's name
        from cli.printable import printable

        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  the library's name
        from cli.printable import printable

        return "\n".join(printable(line) for line in super().formatException(ei).split("\n"))


def of_services() -> None:
    """Send the log lines of services to standard error."""
    if sys.stderr.isatty():
        formatter: logging.Formatter = PlainFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    else:
        formatter = JsonFormatter()
    _send(formatter, ours=logging.INFO, libraries=logging.WARNING)


def of_commands() -> None:
    """Send the warnings of a command to standard error, in the form of its own errors."""
    _send(PlainFormatter("flows: %(message)s"), ours=logging.WARNING, libraries=logging.ERROR)


def _send(formatter: logging.Formatter, *, ours: int, libraries: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=libraries, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(ours)
