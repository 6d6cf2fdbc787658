"""Rows read by the driver alone, as objects of the session, which stores what is changed in them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import SQLModel

from services.round_trips.records import column_names

T = TypeVar("T", bound=SQLModel)


def attach_rows(session: AsyncSession, tables: Sequence[type[SQLModel]], row: Sequence[Any]) -> list[Any]:
    """Return a row that begins with all columns of several tables as the session's objects, then its rest."""
    parts: list[Any] = []
    start = 0
    for table in tables:
        end = start + len(column_names(table))
        parts.append(attach_row(session, table, row[start:end]))
        start = end
    return parts + list(row[start:])


def attach_row(session: AsyncSession, table: type[T], values: Sequence[Any]) -> T | None:
    """Return all columns of a row as the session's object; None for a row that was not joined.

    An object that the session has keeps its values, as in a select of the mapper.
    """
    named = dict(zip(column_names(table), values, strict=True))
    if values[0] is None:
        return None
    mapper: Any = inspect(table)
    primary_key = [named[column.key] for column in mapper.primary_key]
    known: T | None = session.sync_session.identity_map.get(mapper.identity_key_from_primary_key(primary_key))
    if known is not None:
        for name in set(inspect(known).expired_attributes):
            set_committed_value(known, name, named[name])
        return known
    row = table(**named)
    make_transient_to_detached(row)
    session.add(row)
    return row
