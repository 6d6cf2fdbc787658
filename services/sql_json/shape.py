"""The shape of rows that PostgreSQL writes as JSON: the language between the schema and SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Key = str
"""A response key."""


@dataclass(frozen=True)
class Constant:
    """The same JSON for every row."""

    json: str


@dataclass(frozen=True)
class Column:
    """The value of one column."""

    encoding: Literal["bare_text", "text", "number", "timestamp"]
    """How the value becomes JSON.

    Bare text needs no escaping, because a CHECK or a foreign key limits its values. Numbers have 32 bits or
    are booleans. Timestamps are in UTC with microseconds.
    """
    column: str


@dataclass(frozen=True)
class PublicId:
    """The public id of the row that a column references."""

    type_name: str
    column: str


AmountPart: TypeAlias = Literal["value", "currency", "minor_units", "exponent"]


@dataclass(frozen=True)
class Amount:
    """An amount held in two columns; null if either is."""

    minor_column: str
    currency_column: str
    parts: tuple[tuple[Key, AmountPart | Constant], ...] = ()


@dataclass(frozen=True)
class TypeName:
    """The name of a collective's GraphQL type, for each value of its column `type`."""

    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ToOne:
    """The row that a column references, if the viewer may see it."""

    of: Literal["collective", "order", "transaction"]
    column: str
    parts: "Parts" = ()


@dataclass(frozen=True)
class Host:
    """A collective's host, or an event's parent's host, if the viewer may see it."""

    parts: "Parts" = ()


@dataclass(frozen=True)
class BalanceField:
    """A collective's balance in the currency given by the parameter `name`."""

    name: str
    parts: tuple[tuple[Key, "Constant | Amount | Column"], ...] = ()


@dataclass(frozen=True)
class Members:
    """A collective's first members, or its first memberships, as the parameter `name` says.

    `lists` holds the response keys of the rows; each has the key of an edge's node, or None for bare rows.
    """

    name: str
    lists: tuple[tuple[Key, Key | None, "Parts"], ...]
    is_of_members: bool = True
    """True for members, false for memberships."""


@dataclass(frozen=True)
class NonNull:
    """A value that must not be null: if it is, the query falls back to graphql-core."""

    value: "Value"


Value: TypeAlias = (
    Constant | Column | PublicId | Amount | TypeName | ToOne | Host | BalanceField | Members | NonNull
)
Parts: TypeAlias = tuple[tuple[Key, Value], ...]


@dataclass(frozen=True, eq=False)
class RowShape:
    """The JSON of each row of a table. Each query has its own, compared by identity."""

    table: Any
    parts: Parts
    as_one_text: bool
    """True if the query needs only the rows of a page, so that they can be one text."""
    needs_cursors: bool
    """True if the query needs the cursor of a row."""


@dataclass(frozen=True)
class BoundShape:
    """A shape with the arguments of one execution, by parameter name."""

    shape: RowShape
    arguments: Mapping[str, Any]


class SqlJsonUnavailable(Exception):
    """A non-null value was NULL, so that PostgreSQL cannot write the answer."""
