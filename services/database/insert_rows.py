"""Inserts rows of one table with one statement, the same for any number of them."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Text, bindparam, cast, func, inspect, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from services.round_trips import effects
from services.round_trips.pipelines import Statement, compile_statement
from services.round_trips.records import model_of, read_values

OnConflict = Callable[[Insert], Insert]
"""Adds to an insert what happens to a row that a unique constraint refuses."""


def skip_existing(statement: Insert) -> Insert:
    """Leave out a row that a unique constraint refuses."""
    return statement.on_conflict_do_nothing()


async def insert_rows(
    session: AsyncSession, rows: Sequence[SQLModel], *, on_conflict: OnConflict | None = None
) -> None:
    """Insert rows of one table, in their order, with all their columns.

    The rows travel as one JSON value, so that the statement is the same for any number of them. The session
    does not hold them afterwards. A row that a unique constraint refuses is an error without `on_conflict`.
    """
    if not rows:
        return
    values = [read_values(row) for row in rows]
    data = orjson.dumps(values, default=str).decode()
    await effects.write(session, _statement(model_of(rows[0]), on_conflict), {"rows": data})


@cache
def _statement(model: type[SQLModel], on_conflict: OnConflict | None) -> Statement:
    table: Any = inspect(model).local_table
    names = [column.name for column in table.columns]
    of_table: ColumnElement[Any] = literal_column(f'NULL::"{table.name}"')
    data = cast(bindparam("rows", type_=Text), JSONB)
    source = func.jsonb_populate_recordset(of_table, data).table_valued(*names)
    statement = insert(table).from_select(names, select(*source.c), include_defaults=False)
    return compile_statement(on_conflict(statement) if on_conflict else statement)
