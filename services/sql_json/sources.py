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
    mark: str = "id"
    """A column that is NULL if there is no row. Without such a column there is one."""
    sides: Mapping[str, "RowSource"] = field(default_factory=dict)
    """Collectives that the row carries along, by the column that references them."""

    def __getitem__(self, name: str) -> Sql:
        return Sql(f"{self.name}.{self.prefix}{name}")

    def is_nullable(self, name: str) -> bool:
        """Return True if the column can be NULL."""
        if not is_mapped(self.table):
            return self.is_any_nullable or self.table is not None
        return bool(self.table.__table__.c[name].nullable)

    @property
    def expressions(self) -> Any:
        """The columns as expressions of their own, which name no table to select from."""
        return _Expressions(self)

    @property
    def is_written(self) -> Sql:
        """The condition that there is a row, and that it is written here."""
        is_marked = self.mark != "id" or self.table is None or has_column(self.table, "id")
        exists = f"{self[self.mark]} IS NOT NULL" if is_marked else "TRUE"  # a row of a list is there
        return Sql(exists if self.guard is None else f"({exists} AND {self.guard})")


class _Expressions:
    def __init__(self, row: RowSource) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        row = self._row
        column = row.table.__table__.c[name] if is_mapped(row.table) else row.c[name]
        return literal_column(row[name], column.type)


def is_mapped(table: Any) -> bool:
    """Return True for a table, False for the dataclass of a subquery's rows."""
    return hasattr(table, "__table__")


def has_column(table: Any, name: str) -> bool:
    """Return True if rows of a table, or of a subquery that a dataclass describes, have the column."""
    return name in (table.__table__.c if is_mapped(table) else table.__dataclass_fields__)


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
