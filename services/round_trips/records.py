"""Rows read by the driver alone, as objects with the attributes of a model: no session knows of them."""

from collections.abc import Sequence
from functools import cache
from typing import Any


@cache
def row_class(table: Any) -> type[Any]:
    """Return the base class of a table's rows read without the mapper."""
    return type(f"{table.__name__}Row", (), {"__slots__": ()})


class _Record:
    """A row whose attributes can be changed, as those of a model can."""

    def __init__(self, names: Sequence[str], values: Sequence[Any]) -> None:
        self.__dict__.update(zip(names, values, strict=True))


@cache
def _record_class(table: Any) -> type[_Record]:
    return type(f"{table.__name__}Record", (_Record, row_class(table)), {})


@cache
def column_names(table: Any) -> tuple[str, ...]:
    """Return the names of a table's columns, in their order."""
    return tuple(column.key for column in table.__table__.columns)


def split_records(tables: Sequence[Any], row: Sequence[Any]) -> list[Any]:
    """Return a row that begins with all columns of several tables as their records, then its other values.

    A table that was not joined is None.
    """
    parts: list[Any] = []
    start = 0
    for table in tables:
        names = column_names(table)
        values = row[start : start + len(names)]
        start += len(names)
        parts.append(None if values[0] is None else _record_class(table)(names, values))
    return parts + list(row[start:])
