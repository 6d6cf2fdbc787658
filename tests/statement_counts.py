"""Record the SQL statements that an engine sends, for tests that count them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

CONTROL = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})


@contextmanager
def record_statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """Record every statement of the engine, with BEGIN, COMMIT and ROLLBACK, while the block runs."""
    statements: list[str] = []

    def record(_c: Any, _k: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
        statements.append(statement)

    def record_control(word: str) -> Any:
        return lambda _connection: statements.append(word)

    listeners = [("before_cursor_execute", record)]
    listeners += [(word.lower(), record_control(word)) for word in sorted(CONTROL)]
    for name, listener in listeners:
        event.listen(engine.sync_engine, name, listener)
    try:
        yield statements
    finally:
        for name, listener in listeners:
            event.remove(engine.sync_engine, name, listener)


@contextmanager
def record_round_trips(engine: AsyncEngine) -> Iterator[list[list[str]]]:
    """Record the statements of each round trip; COMMIT is not among them if it travels with others."""
    trips: list[list[str]] = []
    last: list[Any] = [None]

    def record(_c: Any, _k: Any, statement: str, _p: Any, trip: Any, _m: Any) -> None:
        if _c is not None or trip is not last[0]:
            trips.append([])
        last[0] = trip
        trips[-1].append(" ".join(statement.split()))

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    try:
        yield trips
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", record)


def without_control(statements: list[str]) -> list[str]:
    """Return the statements other than BEGIN, COMMIT and ROLLBACK."""
    return [statement for statement in statements if statement not in CONTROL]
