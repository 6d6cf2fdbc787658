"""Rows under their names in the statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Boolean, ColumnElement, literal_column

from services.sql_json.fragments import Piece, Sql

Written = tuple[list[Piece], list[str]]
"""Pieces of a value that are never NULL, and what its objects cost."""


@dataclass(frozen=True)
class RowSource:
    """A table or subquery under its name in the statement."""

    name: str
    c: Any
    """Columns."""
    table: Any = None
    """The table of the rows; without it, no column is nullable."""
    prefix: str = ""
    """Prefix of its column names."""
    guard: Sql | None = None
    """The condition under which the row is written here."""
    is_any_nullable: bool = False
    """True if any column can be NULL."""
    sides: Mapping[str, "RowSource"] = field(default_factory=dict)
    """Collectives that the row carries along, by the column that references them."""

    def __getitem__(self, name: str) -> Sql:
        return Sql(f"{self.name}.{self.prefix}{name}")

    def is_nullable(self, name: str) -> bool:
        """Return True if the column can be NULL."""
        if self.table is None:
            return self.is_any_nullable
        return bool(self.table.__table__.c[name].nullable)

    @property
    def expressions(self) -> Any:
        """The columns as expressions of their own, which name no table to select from."""
        return _Expressions(self)

    @property
    def is_written(self) -> Sql:
        """The condition that there is a row, and that it is written here."""
        has_id = self.table is None or "id" in self.table.__table__.c
        exists = f"{self['id']} IS NOT NULL" if has_id else "TRUE"  # a row of a list is there
        return Sql(exists if self.guard is None else f"({exists} AND {self.guard})")


class _Expressions:
    def __init__(self, row: RowSource) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return literal_column(self._row[name], self._row.table.__table__.c[name].type)


class UnprefixedColumns:
    """Columns by their names without a prefix."""

    def __init__(self, columns: Any, prefix: str) -> None:
        self._columns, self._prefix = columns, prefix

    def __getattr__(self, name: str) -> Any:
        return self._columns[self._prefix + name]

    __getitem__ = __getattr__


def condition(sql: Sql) -> ColumnElement[bool]:
    """Return a condition for a statement."""
    return literal_column(sql, Boolean)


def labelled(expression: Sql, name: str) -> Any:
    """Return an expression as a column."""
    return literal_column(expression).label(name)


def total(costs: list[str]) -> Sql:
    """Return the sum of costs."""
    return Sql(f"({' + '.join(['0', *costs])})::integer")
