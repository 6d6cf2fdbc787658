"""Rows under their names in the statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Select, literal_column

from services.round_trips.records import column_names
from services.sql_json.fragments import Piece, Sql

Written = tuple[list[Piece], list[str]]
"""Pieces of a value that are never NULL, and what its objects cost."""


@dataclass(frozen=True)
class RowSource:
    """A table or subquery under its name in the statement."""

    name: str
    table: Any = None
    """The table of the rows; without it, no column is nullable."""
    selected: Select[Any] | None = None
    """What selects the rows, if they are not those of a table."""
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
    used: set[str] = field(default_factory=set)
    """The columns that the statement uses, with the prefix."""

    def __getitem__(self, name: str) -> Sql:
        column = f"{self.prefix}{name}"
        self.used.add(column)
        return Sql(f"{self.name}.{column}")

    def is_nullable(self, name: str) -> bool:
        """Return True if the column can be NULL."""
        if not is_mapped(self.table):
            return self.is_any_nullable or self.table is not None
        return bool(self.table.__table__.c[name].nullable)

    @property
    def c(self) -> Any:
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
        if is_mapped(row.table):
            column = row.table.__table__.c[name]
        else:
            assert row.selected is not None
            column = row.selected.selected_columns[name]
        return literal_column(row[name], column.type)

    __getitem__ = __getattr__


def narrowed(selected: Select[Any], table: Any, used: set[str]) -> Select[Any]:
    """Select only the columns that are used: building and planning a statement takes as long as it is long.

    What is selected from no table may be sums, which are rows of another number without their columns.
    """
    if not is_mapped(table):
        return selected
    columns: list[Any] = []
    for described in selected.column_descriptions:
        expression = described["expr"]
        if described.get("entity") is expression:
            columns += [getattr(expression, name) for name in column_names(described["type"]) if name in used]
        elif described["name"] in used:
            columns.append(expression)
    columns = columns or [literal_column("true").label("is_row")]
    return selected.with_only_columns(*columns, maintain_column_froms=True)


def is_mapped(table: Any) -> bool:
    """Return True for a table, False for the dataclass of a subquery's rows."""
    return hasattr(table, "__table__")


def has_column(table: Any, name: str) -> bool:
    """Return True if rows of a table, or of a subquery that a dataclass describes, have the column."""
    return name in (table.__table__.c if is_mapped(table) else table.__dataclass_fields__)


def condition(sql: Sql) -> ColumnElement[bool]:
    """Return a condition for a statement."""
    return literal_column(sql, Boolean)


def labelled(expression: Sql, name: str) -> Any:
    """Return an expression as a column."""
    return literal_column(expression).label(name)


def total(costs: list[str]) -> Sql:
    """Return the sum of costs."""
    return Sql(f"({' + '.join(['0', *costs])})::integer")
