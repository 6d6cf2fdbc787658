"""Rows that the driver alone reads and writes, with the attributes of a model: no session knows of them.

They cost a tenth of a model's instance, whose every attribute tells the session that it has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from pydantic_core import PydanticUndefined
from sqlmodel import SQLModel

RowT = TypeVar("RowT", bound=SQLModel)


@cache
def row_class(table: Any) -> type[Any]:
    """Return the base class of a table's rows read without the mapper."""
    return type(f"{table.__name__}Row", (), {"__slots__": ()})


class _Record:
    """A row whose attributes can be changed, as those of a model can."""

    table: Any

    def __init__(self, names: Sequence[str], values: Sequence[Any]) -> None:
        self.__dict__.update(zip(names, values, strict=True))


@cache
def _record_class(table: Any) -> type[_Record]:
    return type(f"{table.__name__}Record", (_Record, row_class(table)), {"table": table})


@cache
def column_names(table: Any) -> tuple[str, ...]:
    """Return the names of a table's columns, in their order."""
    return tuple(column.key for column in table.__table__.columns)


@cache
def _defaults(table: type[SQLModel]) -> tuple[Mapping[str, Any], Sequence[tuple[str, Callable[[], Any]]]]:
    """Return the defaults of a table's columns: what they are, and what makes them."""
    fields = table.model_fields
    made = {
        name: field.default_factory for name, field in fields.items() if field.default_factory is not None
    }
    fixed = {
        name: field.default
        for name, field in fields.items()
        if name not in made and field.default is not PydanticUndefined
    }
    return fixed, [(name, cast("Callable[[], Any]", factory)) for name, factory in made.items()]


def new_record(table: type[RowT], **values: Any) -> RowT:
    """Return a row that is not stored yet, with the defaults of its model; `insert_rows` stores it.

    Raises:
        TypeError: a column has neither a value nor a default, or there is no such column.
    """
    fixed, made = _defaults(table)
    row = {**fixed, **values}
    for name, factory in made:
        if name not in row:
            row[name] = factory()
    names = column_names(table)
    if len(row) != len(names) or any(name not in row for name in names):
        raise TypeError(f"{table.__name__} has other columns: {sorted(row.keys() ^ set(names))}")
    return cast("RowT", _record_class(table)(names, [row[name] for name in names]))


def read_values(row: SQLModel) -> dict[str, Any]:
    """Return the values of a row, a record or a model's instance, by column."""
    return dict(row.__dict__) if isinstance(row, _Record) else row.model_dump()


def model_of(row: SQLModel) -> type[SQLModel]:
    """Return the model of a row, a record or an instance."""
    return cast("type[SQLModel]", row.table if isinstance(row, _Record) else type(row))


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
