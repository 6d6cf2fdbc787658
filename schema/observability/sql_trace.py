"""The SQL statements that an operation took, for an ADMIN of the platform who asks for them."""

import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.access.actor import Actor

WISH = "commonweal-explain"
"""A request with a header of this name asks for the statements; nobody else's header counts."""
MAX_STATEMENTS = 500


@dataclass
class Taken:
    """The statements of one operation, in the order in which they were sent."""

    is_allowed: bool = False
    statements: list[dict[str, Any]] = field(default_factory=list)
    running: dict[int, tuple[dict[str, Any], float]] = field(default_factory=dict)
    """By the cursor that each runs on: since when."""


# Deep below an operation its session meets the driver, which knows nothing of operations.
_taken: ContextVar[Taken | None] = ContextVar("taken", default=None)


def listen(engine: AsyncEngine) -> None:
    """Note the statements of an engine, in operations that ask for it; in others, it is one look."""
    event.listen(engine.sync_engine, "before_cursor_execute", _before)
    event.listen(engine.sync_engine, "after_cursor_execute", _after)


def begin(headers: Mapping[str, str]) -> None:
    """Begin an operation: its statements are noted only if it asks for them."""
    _taken.set(Taken() if WISH in headers else None)


def pause() -> Token[Taken | None]:
    """Note no statements until `resume`: those that count points are not the operation's."""
    return _taken.set(None)


def resume(paused: Token[Taken | None]) -> None:
    """Go on as before."""
    _taken.reset(paused)


def decide(actor: Actor) -> None:
    """Show the operation's statements only to an ADMIN of the platform."""
    if (taken := _taken.get()) is not None:
        taken.is_allowed = actor.is_platform_admin


def added(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the statements as `extensions.sql`, where they are asked for and may be shown.

    `ms` is the time that the database and the way to it took; null is a statement that failed.
    """
    taken = _taken.get()
    if taken is None or not taken.is_allowed:
        return body
    return body | {"extensions": body.get("extensions", {}) | {"sql": taken.statements}}


def _before(_: Any, cursor: Any, statement: str, *__: Any) -> None:
    taken = _taken.get()
    if taken is None or len(taken.statements) >= MAX_STATEMENTS:
        return
    # The text alone: what is bound to it may be somebody's address, password or token.
    noted: dict[str, Any] = {"statement": statement, "ms": None}
    taken.statements.append(noted)
    taken.running[id(cursor)] = noted, time.perf_counter()


def _after(_: Any, cursor: Any, *__: Any) -> None:
    taken = _taken.get()
    if taken is not None and (found := taken.running.pop(id(cursor), None)) is not None:
        noted, started = found
        noted["ms"] = round((time.perf_counter() - started) * 1000, 2)
