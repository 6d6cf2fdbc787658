"""Fields of types over rows, declared so that they serve one row and a list of rows alike.

The compiled executor asks a field once for all rows of a list; graphql-core asks it once a row, and those
that ask at the same moment are put together.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import strawberry

from resolvers.context import Info
from services.sql_json.shape import One, Value

_Parent: Any = strawberry.Parent[Any]  # type: ignore[misc]  # generic by Annotated
OF_ROW = "of_row"
"""The attribute of a resolver that computes its field from the row, or from the row and the info, at once."""
OF_ROWS = "of_rows"
"""The attribute of a resolver that answers for a list of rows."""
TABLE = "table"
"""The attribute of an `is_type_of` that names the table whose rows it knows."""
WRITTEN = "written"
"""The attribute of a resolver that gives its field as it is answered, serialized."""
SHOWN = "shown"
"""The attribute of a resolver that says how PostgreSQL writes its field, if it can."""
TYPES = "types"
"""The attribute of an `is_type_of` that names the values of the column `type` that it knows."""
NEEDS = "needs"
"""The attribute of a resolver that names the columns it reads of its row; without it, all are read."""
F = TypeVar("F", bound=Callable[..., Any])


def derived(*needs: str, shown: Value | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field that is computed from its row (and the viewer in `info`), reading nothing more.

    `needs` are the columns of the row that it takes; named none, it may take any. `shown` is how PostgreSQL
    writes the same.
    """

    def declare(of_row: Callable[..., Any]) -> Any:
        setattr(of_row, OF_ROW, of_row)
        setattr(of_row, SHOWN, shown)
        if needs:
            setattr(of_row, NEEDS, needs)
        return strawberry.field(resolver=of_row, **settings)

    return declare


def written(of_row: Any, text_of_row: Any, **settings: Any) -> Any:
    """Declare a field that is computed from its row, and what gives it as it is written, which is quicker."""

    def one(root: strawberry.Parent[Any]) -> Any:
        return of_row(root)

    setattr(one, OF_ROW, of_row)
    setattr(one, WRITTEN, text_of_row)
    return strawberry.field(resolver=one, **settings)


def relation(*needs: str, shown: Value | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field that is read for a list of rows: `async (rows, info, **arguments) -> list`.

    The list is in the order of the rows; an exception in it is the error of its row alone. `needs` and
    `shown` as of `derived`.
    """

    def declare(of_rows: Callable[..., Any]) -> Any:
        rows, *others = inspect.signature(of_rows).parameters.values()

        @wraps(of_rows)
        async def one(root: Any, info: Info, **arguments: Any) -> Any:
            async def many(parents: list[Any]) -> Any:
                return await of_rows(parents, info, **arguments)

            key = (of_rows, repr(arguments))
            return await info.context.loaders.together(key, many).one(root)

        parent = inspect.Parameter("root", rows.kind, annotation=_Parent)
        one.__signature__ = inspect.Signature([parent, *others], return_annotation=Any)  # type: ignore[attr-defined]  # read by inspect
        one.__annotations__ = {"root": _Parent} | {o.name: o.annotation for o in others}
        setattr(one, OF_ROWS, of_rows)
        setattr(one, SHOWN, shown)
        if needs:
            setattr(one, NEEDS, needs)
        return strawberry.field(resolver=one, **settings)

    return declare


def reference(loader: str, key: str, **settings: Any) -> Any:
    """Declare a field that loads what the row's attribute `key` names, by the loader of that name."""

    async def of_rows(rows: list[Any], info: Info) -> Any:
        return await info.context.loaders.of(loader).load_many([getattr(row, key) for row in rows])

    async def one(root: strawberry.Parent[Any], info: Info) -> Any:
        return await info.context.loaders.of(loader).load(getattr(root, key))

    setattr(one, OF_ROWS, of_rows)
    setattr(one, NEEDS, (key,))
    if loader in {"collective", "order", "transaction"} and key.endswith("_id"):
        setattr(one, SHOWN, One(cast("Any", loader), key))
    return strawberry.field(resolver=one, **settings)
