"""Logs as JSON, one object a line, on standard error."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

__all__ = ["log_as_json"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _JsonFormatter(logging.Formatter):
    """A record's time, level, logger and message, and whatever `extra` it was given."""

    def format(self, record: logging.LogRecord) -> str:
        time = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Not what a client alone is to blame for: it could fill the disk with it."""
    return not record.getMessage().startswith(("Invalid UTF-8 sequence", "Invalid HTTP request"))


def log_as_json() -> None:
    """Send all logs to standard error: Noria's from level info on, others from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logging.getLogger("noria").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_worth_a_line)
