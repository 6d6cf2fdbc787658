"""A trace of an operation's SQL statements, for platform ADMINs who request it."""

import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.access.actor import Actor

REQUEST_HEADER = "commonweal-explain"
"""A request with this header gets the statements, if a platform ADMIN sends it."""
MAX_STATEMENTS = 500


@dataclass
class StatementTrace:
    """The statements of one operation, in the order in which they were sent."""

    is_allowed: bool = False
    statements: list[dict[str, Any]] = field(default_factory=list)
    running: dict[int, tuple[dict[str, Any], float]] = field(default_factory=dict)
    """Running statements by cursor, with their start."""


# A context variable, because the driver's events know nothing of operations.
_current_trace: ContextVar[StatementTrace | None] = ContextVar("statement_trace", default=None)


def listen(engine: AsyncEngine) -> None:
    """Record an engine's statements for operations that trace; others pay for one look-up."""
    event.listen(engine.sync_engine, "before_cursor_execute", _record_start)
    event.listen(engine.sync_engine, "after_cursor_execute", _record_end)


def begin(headers: Mapping[str, str]) -> None:
    """Start a trace if the request has the header, else clear it."""
    _current_trace.set(StatementTrace() if REQUEST_HEADER in headers else None)


def pause() -> Token[StatementTrace | None]:
    """Record nothing until `resume`: statements that count points are not the operation's own."""
    return _current_trace.set(None)


def resume(paused: Token[StatementTrace | None]) -> None:
    """Resume the trace that `pause` suspended."""
    _current_trace.reset(paused)


def authorize(actor: Actor) -> None:
    """Allow the trace in the response only for a platform ADMIN."""
    if (trace := _current_trace.get()) is not None:
        trace.is_allowed = actor.is_platform_admin


def with_trace(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body with the statements in `extensions.sql`, if they were requested and are allowed.

    `ms` is the time in the database and on the way to it; null means that the statement failed.
    """
    trace = _current_trace.get()
    if trace is None or not trace.is_allowed:
        return body
    return body | {"extensions": body.get("extensions", {}) | {"sql": trace.statements}}


def _record_start(_: Any, cursor: Any, statement: str, *__: Any) -> None:
    trace = _current_trace.get()
    if trace is None or len(trace.statements) >= MAX_STATEMENTS:
        return
    # Only the text: parameters may be somebody's address, password or token.
    entry: dict[str, Any] = {"statement": statement, "ms": None}
    trace.statements.append(entry)
    trace.running[id(cursor)] = entry, time.perf_counter()


def _record_end(_: Any, cursor: Any, *__: Any) -> None:
    trace = _current_trace.get()
    if trace is not None and (running := trace.running.pop(id(cursor), None)) is not None:
        entry, started = running
        entry["ms"] = round((time.perf_counter() - started) * 1000, 2)
