"""What a query shows of its rows, where PostgreSQL itself can write it: the words between schema and SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Key = str
"""The name under which something is answered."""


@dataclass(frozen=True)
class Constant:
    """The same JSON for every row."""

    json: str


@dataclass(frozen=True)
class Column:
    """A column by itself."""

    how: Literal["code", "words", "number", "moment"]
    """A code is a text that JSON need not escape: a CHECK or a foreign key names those that there are.
    Numbers have 32 bits, or are booleans; moments are in UTC, with microseconds."""
    column: str


@dataclass(frozen=True)
class PublicId:
    """The public id of what a column names."""

    kind: str
    column: str


AmountPart: TypeAlias = Literal["value", "currency", "minor_units", "exponent"]


@dataclass(frozen=True)
class Amount:
    """An amount of two columns; null where the first of them is."""

    minor: str
    currency: str
    parts: tuple[tuple[Key, AmountPart | Constant], ...] = ()


@dataclass(frozen=True)
class TypeName:
    """The name of a collective's type, by the values of its column `type`."""

    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class One:
    """What a column names, if the viewer may see it."""

    of: Literal["collective", "order", "transaction"]
    column: str
    parts: "Parts" = ()


@dataclass(frozen=True)
class Host:
    """Who holds a collective's money, if the viewer may see it; an event has its parent's."""

    parts: "Parts" = ()


@dataclass(frozen=True)
class BalanceIn:
    """What a collective has in the currency that the parameter `name` says."""

    name: str
    parts: tuple[tuple[Key, "Constant | Amount | Column"], ...] = ()


@dataclass(frozen=True)
class Members:
    """The first member rows of a collective, or of what it is a member of: as the parameter `name` says.

    `lists` are the keys that answer the rows, and for each the key of an edge's node, or none where the rows
    stand there themselves.
    """

    name: str
    lists: tuple[tuple[Key, Key | None, "Parts"], ...]
    is_of_members: bool = True
    """Else of what it is a member of."""


@dataclass(frozen=True)
class Required:
    """A value that is never null: where it would be, the query is not to be answered from here."""

    value: "Value"


Value: TypeAlias = (
    Constant | Column | PublicId | Amount | TypeName | One | Host | BalanceIn | Members | Required
)
Parts: TypeAlias = tuple[tuple[Key, Value], ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown of each row of a table. One a query: it is told from others by its identity."""

    table: Any
    parts: Parts
    is_whole: bool
    """Whether the rows of a page are asked for and nothing besides."""
    wants_places: bool
    """Whether it is asked where each row stands."""


@dataclass(frozen=True)
class Asked:
    """What is shown, and the parameters of this time by their names."""

    shown: Shown
    given: Mapping[str, Any]


class Unwritten(Exception):
    """A value that is never null would be."""
