"""A log line for each statement that takes long, with the shape of its plan and none of its values."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import psycopg
from psycopg import AsyncRawCursor
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

MAX_STATEMENT_LENGTH = 4_000
_EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
_begun_at: ContextVar[float] = ContextVar("statement_begun_at", default=0.0)
log = logging.getLogger("commonweal.sql")


def listen(engine: AsyncEngine, *, seconds: float) -> None:
    """Log the engine's statements that take longer. Their plans are made one at a time; others get none."""
    explaining: set[asyncio.Task[None]] = set()

    def begin(*_: Any) -> None:
        _begun_at.set(time.perf_counter())

    def end(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        taken = time.perf_counter() - _begun_at.get()
        if taken < seconds:
            return
        if explaining or not statement.lstrip().upper().startswith(_EXPLAINED):
            _log(statement, taken, [])
            return
        task = asyncio.get_running_loop().create_task(_explain(engine, statement, parameters, taken))
        explaining.add(task)
        task.add_done_callback(explaining.discard)

    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    event.listen(engine.sync_engine, "after_cursor_execute", end)


async def _explain(engine: AsyncEngine, statement: str, parameters: Any, seconds: float) -> None:
    """Log a statement with its plan, which is made anew and not executed."""
    plan: list[str] = []
    try:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            # The driver's own placeholders have names; statements that are compiled once have numbers.
            cursor = AsyncRawCursor(driver) if isinstance(parameters, list) else driver.cursor()
            await cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters)
            ((row,),) = await cursor.fetchall()
            plan = list(_describe(row[0]["Plan"]))
    except (DBAPIError, PoolTimeout, psycopg.Error, OSError) as error:
        plan = [f"unknown: {type(error).__name__}"]
    finally:
        _log(statement, seconds, plan)


def _describe(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Describe a plan without its conditions, in which somebody's address may be."""
    index = f" using {node['Index Name']}" if "Index Name" in node else ""
    table = f" on {node['Relation Name']}" if "Relation Name" in node else ""
    cost = f"{node['Plan Rows']} rows, cost {node['Total Cost']}"
    yield f"{'  ' * depth}{node['Node Type']}{index}{table}, {cost}"
    for child in node.get("Plans", ()):
        yield from _describe(child, depth + 1)


def _log(statement: str, seconds: float, plan: list[str]) -> None:
    fields = {"ms": round(seconds * 1000), "statement": statement[:MAX_STATEMENT_LENGTH], "plan": plan}
    log.warning("slow statement", extra=fields)
