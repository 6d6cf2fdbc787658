"""The Node interface, public ids, and references in input."""

from typing import Any

import strawberry

from schema.types.fields import TABLE, TYPES, derived
from services.access.collective_refs import Ref
from services.core import public_ids
from services.database import statement_cache
from services.sql_json.shape import PublicId


@strawberry.interface(description="Anything with an id of its own.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Opaque, unique over all types; its prefix names the type."
    )


def id_of(kind: str) -> Any:
    """Return the `id` field of a type over rows."""

    @derived(
        "id",
        shown=PublicId(kind, "id"),
        graphql_type=strawberry.ID,
        description="Opaque, unique over all types; its prefix names the type.",
    )
    def public_id(root: strawberry.Parent[Any]) -> str:
        return public_ids.encode(kind, root.id)

    return public_id


def rows_of(table: Any, *types: str) -> Any:
    """Return an `is_type_of`: rows of a table, of one of these types if any are named."""
    classes = (table, statement_cache.light(table)) if hasattr(table, "__table__") else (table,)

    def is_type_of(obj: Any, _: Any) -> bool:
        return isinstance(obj, classes) and (not types or obj.type in types)

    setattr(is_type_of, TABLE, table)
    setattr(is_type_of, TYPES, types)
    return staticmethod(is_type_of)


@strawberry.input(one_of=True, description="A collective, by id or by slug.")
class CollectiveRef:
    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Its id, col_…")
    slug: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its slug, or one that it had before."
    )


def ref(given: CollectiveRef) -> Ref:
    """Return a reference as a service takes it."""
    if given.id:
        return Ref(id=given.id)
    return Ref(slug=given.slug or None)


def ref_or_none(given: CollectiveRef | None) -> Ref | None:
    """Return a reference as a service takes it, or none."""
    return None if given is None else ref(given)
