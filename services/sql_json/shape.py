"""The shape of an answer that PostgreSQL writes as JSON: the language between the schema and SQL.

A weight is what an object costs; the cost of an answer is counted while it is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from services.access.actor import Actor
from services.sql_json.arguments import BalanceArguments, ListArguments, NodesArguments

Key = str
"""A response key."""


@dataclass(frozen=True)
class Constant:
    """The same JSON for every row."""

    json: str


Encoding: TypeAlias = Literal["bare_text", "text", "number", "timestamp", "date", "decimal", "json", "is_set"]


@dataclass(frozen=True)
class Column:
    """The value of one column."""

    encoding: Encoding
    """How the value becomes JSON.

    Bare text needs no escaping, because a CHECK or a foreign key limits its values. Text may be a list of
    texts. Numbers have 32 bits or are booleans; larger ones are written as decimals are, as texts. Timestamps
    are in UTC with microseconds. What is set is not NULL.
    """
    column: str


@dataclass(frozen=True)
class PublicId:
    """The public id of the row that a column references, by its UUID or its number."""

    type_name: str
    column: str
    is_number: bool = False


@dataclass(frozen=True)
class FirstOf:
    """The first value that is not NULL."""

    values: tuple[Column | PublicId, ...]


AmountPart: TypeAlias = Literal["value", "currency", "minor_units", "exponent"]


@dataclass(frozen=True)
class Amount:
    """An amount held in two columns; null if either is."""

    minor_column: str
    currency_column: str = ""
    parts: tuple[tuple[Key, AmountPart | Constant], ...] = ()
    currency: str = ""
    """The currency of the amounts of all rows, if they have no column for it."""


@dataclass(frozen=True)
class Private:
    """The value of a column, or the amount of two, for those who may see it."""

    column: "Column | Amount | PublicId"
    is_visible: Callable[[Actor, Any], Any]
    """Builds the condition from the viewer and the row's columns."""
    hidden: str = "null"
    """The JSON for others."""


@dataclass(frozen=True)
class Derived:
    """A value of the one row that a subquery has."""

    select: Callable[[Any], Any]
    """Builds the subquery from the row's columns."""
    value: Column | Amount
    """What is written of the subquery's columns."""
    is_nullable: bool = False
    """True if a column of the subquery can be NULL."""
    is_visible: Callable[[Actor, Any], Any] | None = None
    """Builds the condition from the viewer and the row's columns."""
    hidden: str = "null"
    """The JSON for others."""


@dataclass(frozen=True)
class ForViewer:
    """A value made of the row's columns and the viewer."""

    expression: Callable[[Actor, Any], Any]
    """Builds the expression from the viewer and the row's columns."""
    encoding: Encoding


@dataclass(frozen=True)
class BalanceList:
    """A collective's balances in all currencies, at the moment given by the parameter `name`."""

    selects: "Selects"


@dataclass(frozen=True)
class AmountList:
    """A list of amounts, of the rows that `selects` selects."""

    selects: "Selects"
    amount: Amount


@dataclass(frozen=True)
class TypeName:
    """The name of a collective's GraphQL type, for each value of its column `type`."""

    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Variant:
    """What is written of the rows whose column `type` has one of these values: of all rows without any."""

    types: tuple[str, ...]
    parts: "Parts"


Variants: TypeAlias = tuple[Variant, ...]
"""What is written of a row, by its type. A row of any other type makes the query fall back."""


@dataclass(frozen=True)
class ToOne:
    """The row that a column references, if the viewer may see it."""

    of: str
    """The loader of the row: a key of `builder.VISIBLE_BY`."""
    column: str
    is_shown: Callable[[Actor, Any], Any] | None = None
    """Builds a further condition from the viewer and the columns of the row that has the reference."""
    are_shown: Callable[[Actor, Any, Any], Any] | None = None
    """Builds a further condition from the viewer and the columns of both rows."""
    variants: Variants = ()
    weight: int = 0


@dataclass(frozen=True)
class Detail:
    """An object of the one row that a subquery has; null if it has none."""

    select: Callable[[Any], Any]
    """Builds the subquery from the row's columns."""
    is_visible: Callable[[Actor, Any], Any] | None = None
    """Builds the condition from the viewer and the row's columns; the object is null for others."""
    table: Any = None
    """The table of the subquery's row, or the dataclass that names its columns."""
    variants: Variants = ()
    weight: int = 0


SelectById: TypeAlias = Callable[[Actor, Any], Any]
"""Selects a row by an expression for its id, from the viewer."""


NodeOptions: TypeAlias = tuple[tuple[str, SelectById, Any, Variants], ...]
"""The types that a row may have: the name, what selects it by its id, its table, and what is written."""


@dataclass(frozen=True)
class ToNode:
    """The row of one of several tables that the column `id` references, if the viewer may see it."""

    type_column: str
    """The column that names its type."""
    selects: tuple[tuple[str, SelectById], ...]
    """What selects a row of each type."""
    options: NodeOptions = ()


@dataclass(frozen=True)
class Host:
    """A collective's host, or an event's parent's host, if the viewer may see it."""

    variants: Variants = ()
    weight: int = 0


@dataclass(frozen=True)
class BalanceField:
    """A collective's balance in the currency and at the moment given by the parameter `name`."""

    name: str
    parts: tuple[tuple[Key, "Constant | Amount | Column"], ...] = ()
    weight: int = 0


@dataclass(frozen=True)
class Selects:
    """The rows that a field selects, as declared: those of `owner`, a column of the row that has the field.

    `side` is the column whose collective each row carries along, with prefixed columns.
    """

    arguments: Callable[[dict[str, Any]], ListArguments]
    """Returns what to select for the field's arguments; raises `Problem` if they are invalid."""
    owner: str | None = "id"
    """None for rows that depend on several columns: they are selected by the row itself."""
    side: str | None = None
    is_visible: Callable[[Actor, Any], Any] | None = None
    """Builds the condition from the viewer and the columns of the row that has the field; null for others."""
    needs_table: bool = True
    """False for what is known without the database: alone, it is no reason to ask it."""
    options: tuple[str, ...] = ()
    """The types of a row that may be of several tables, by the `option` of the arguments."""
    is_required: bool = False
    """True if there is an error to tell where a query's root has no row."""


@dataclass(frozen=True)
class SelectsNodes:
    """The rows of several tables that a field selects by their ids, as declared."""

    arguments: Callable[[dict[str, Any]], NodesArguments]
    """Returns the ids of the field's arguments; raises `Problem` if one is none."""
    options: Mapping[str, SelectById]
    """What selects a row of each type."""


@dataclass(frozen=True)
class Nodes:
    """The rows of a list, or the amounts in their place."""

    variants: Variants | Amount
    weight: int


@dataclass(frozen=True)
class Edges:
    """The edges of a page, by response key of their fields."""

    parts: tuple[tuple[Key, "Constant | Nodes | Literal['cursor']"], ...]


PagePart: TypeAlias = Literal["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"]


@dataclass(frozen=True)
class PageInfo:
    """The position of a page, by response key of its fields."""

    parts: tuple[tuple[Key, Constant | PagePart], ...]


@dataclass(frozen=True)
class TotalCount:
    """The number of rows in the whole list."""

    weight: int


@dataclass(frozen=True)
class List:
    """A list of rows, selected by the parameter `name`: bare `Nodes`, or a page with its entries."""

    name: str
    selects: Selects
    table: Any
    entries: tuple[tuple[Key, Nodes | Edges | PageInfo | TotalCount | Constant], ...] | Nodes
    weight: int = 0


@dataclass(frozen=True)
class Row:
    """One row, selected by the parameter `name`, of another row or of a query's root; null if there is none.

    `options` are the tables that it may be of, by the `option` of its arguments.
    """

    name: str
    options: tuple[tuple[str, Any, Variants], ...]
    owner: str | None = "id"
    is_required: bool = False
    """Both as of `Selects`."""
    weight: int = 0


@dataclass(frozen=True)
class Rows:
    """Rows by their ids, named by the parameter `name`, in its order; null where there is none."""

    name: str
    options: NodeOptions


@dataclass(frozen=True)
class Position:
    """The position of the statement's snapshot in the stream of live events."""


@dataclass(frozen=True)
class NonNull:
    """A value that must not be null: if it is, the query falls back to graphql-core."""

    value: "Value"


Value: TypeAlias = (
    Constant
    | Column
    | Private
    | Derived
    | ForViewer
    | BalanceList
    | AmountList
    | PublicId
    | FirstOf
    | Amount
    | TypeName
    | ToOne
    | ToNode
    | Detail
    | Host
    | BalanceField
    | Selects
    | SelectsNodes
    | Position
    | List
    | Row
    | NonNull
)
Parts: TypeAlias = tuple[tuple[Key, Value], ...]
Root: TypeAlias = Constant | List | Row | Rows | Position


def is_required(root: Root) -> bool:
    """Return True if there is an error to tell where a root has no row."""
    return isinstance(root, Row) and root.is_required


@dataclass(frozen=True, eq=False)
class QueryShape:
    """The JSON of each field at the root of a query, compared by identity."""

    roots: tuple[tuple[Key, Root], ...]


@dataclass(frozen=True)
class BoundShape:
    """A shape with the arguments of one execution, by parameter name."""

    shape: QueryShape
    arguments: Mapping[str, ListArguments | BalanceArguments | NodesArguments]


class SqlJsonUnavailable(Exception):
    """PostgreSQL cannot write the answer: a non-null value is NULL, or there is an error to tell."""
