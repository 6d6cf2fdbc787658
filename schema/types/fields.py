"""Field declarations for types backed by rows: what PostgreSQL writes for them, and how they are resolved."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import strawberry

from dataloaders import LoaderField
from resolvers.context import Info
from services.access.actor import Actor
from services.core.pagination import Sort
from services.sql_json.arguments import ListArguments, Unconditional
from services.sql_json.builder import VISIBLE_BY
from services.sql_json.shape import Selects, ToOne, Value

_Parent: Any = strawberry.Parent[Any]  # type: ignore[misc]  # generic by Annotated
OF_ROW = "of_row"
"""Attribute of a resolver that computes its field from the row, or from row and info, without awaiting."""
TABLE = "table"
"""Attribute of an `is_type_of`: the table whose rows it recognizes."""
SHAPE = "shape"
"""Attribute of a resolver: the shape from which PostgreSQL can write its field, if any."""
TYPE_VALUES = "type_values"
"""Attribute of an `is_type_of`: the values of the column `type` that it recognizes."""


def shaped(shape: Value) -> Callable[[Any], Any]:
    """Declare what PostgreSQL writes for the field that a resolver answers otherwise."""

    def declare(resolver: Any) -> Any:
        setattr(resolver, SHAPE, shape)
        return resolver

    return declare


def computed(*, shape: Value | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field computed from its row (and the viewer in `info`) without further reads.

    `shape` is the equivalent for PostgreSQL.
    """

    def declare(of_row: Callable[..., Any]) -> Any:
        setattr(of_row, OF_ROW, of_row)
        setattr(of_row, SHAPE, shape)
        return strawberry.field(resolver=of_row, **settings)

    return declare


def batched(*, shape: Value | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field read for a list of rows at once: `async (rows, info, **arguments) -> list`.

    graphql-core resolves a field row by row; simultaneous calls are combined. The result has the order of the
    rows; an exception in it is the error of that row alone. `shape` is that of `computed`.
    """

    def declare(of_rows: Callable[..., Any]) -> Any:
        rows, *others = inspect.signature(of_rows).parameters.values()

        @wraps(of_rows)
        async def resolve_one(root: Any, info: Info, **arguments: Any) -> object:
            async def resolve_many(parents: list[Any]) -> Any:
                return await of_rows(parents, info, **arguments)

            key = (of_rows, repr(arguments))
            return await info.context.loaders.batched_call(key, resolve_many).call(root)

        parent = inspect.Parameter("root", rows.kind, annotation=_Parent)
        resolve_one.__signature__ = inspect.Signature([parent, *others], return_annotation=Any)  # type: ignore[attr-defined]  # read by inspect
        resolve_one.__annotations__ = {"root": _Parent} | {o.name: o.annotation for o in others}
        setattr(resolve_one, SHAPE, shape)
        return strawberry.field(resolver=resolve_one, **settings)

    return declare


def whole_list(select: Callable[..., Any], sort: Sort) -> Selects:
    """Return the shape of a list of rows that `select` selects for the id of a row."""
    return Selects(lambda _: ListArguments(select, Unconditional(), sort))


@dataclass(frozen=True)
class Mask:
    """For which viewers a field of a row is null, although they may see the row and what it references."""

    is_shown: Callable[[Actor, Any], Any]
    """Builds the condition in SQL from the viewer and the row's columns."""
    are_shown: Callable[[list[Any], Info], Awaitable[list[bool]]]
    """Tells the same of rows that were loaded."""


def to_one(
    loader: LoaderField[Any, Any],
    key: str,
    *,
    shape: Value | None = None,
    mask: Mask | None = None,
    **settings: Any,
) -> Any:
    """Declare a field loaded by the id in the row's attribute `key`; `shape` is that of `computed`."""

    async def resolve_one(root: strawberry.Parent[Any], info: Info) -> object:
        if mask is not None and not all(await mask.are_shown([root], info)):
            return None
        return await loader.of(info.context.loaders).load(getattr(root, key))

    if loader.name in VISIBLE_BY and key.endswith("_id"):
        shape = ToOne(loader.name, key, is_shown=mask.is_shown if mask is not None else None)
    setattr(resolve_one, SHAPE, shape)
    return strawberry.field(resolver=resolve_one, **settings)
