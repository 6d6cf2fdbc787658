"""The Node interface, public ids, and references to collectives in inputs."""

from typing import Any

import strawberry

from schema.types.fields import TABLE, TYPE_VALUES, computed
from services.access.collective_refs import CollectiveKey
from services.core import public_ids
from services.round_trips.records import row_class
from services.sql_json.shape import PublicId


@strawberry.interface(description="Any object with a global ID.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Opaque ID, unique across all types. Its prefix names the type."
    )


def id_field(
    type_name: str, *, description: str = "Opaque ID, unique across all types. Its prefix names the type."
) -> Any:
    """Declare the `id` field of a type backed by rows."""

    @computed(
        shape=PublicId(type_name, "id"),
        graphql_type=strawberry.ID,
        description=description,
    )
    def public_id(root: strawberry.Parent[Any]) -> str:
        return public_ids.encode(type_name, root.id)

    return public_id


def is_row_of(table: Any, *types: str) -> Any:
    """Return an `is_type_of` for rows of a table, limited to these values of `type` if any are given."""
    classes = (table, row_class(table)) if hasattr(table, "__table__") else (table,)

    def is_type_of(obj: Any, _: Any) -> bool:
        return isinstance(obj, classes) and (not types or obj.type in types)

    setattr(is_type_of, TABLE, table)
    setattr(is_type_of, TYPE_VALUES, types)
    return staticmethod(is_type_of)


@strawberry.input(one_of=True, description="A reference to a collective, by ID or by slug.")
class CollectiveRef:
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="ID of the collective, col_…"
    )
    slug: str | None = strawberry.field(
        default=strawberry.UNSET, description="Current or former slug of the collective."
    )


def to_key(ref: CollectiveRef) -> CollectiveKey:
    """Convert a reference for the services."""
    if ref.id:
        return CollectiveKey(id=ref.id)
    return CollectiveKey(slug=ref.slug or None)


def to_optional_key(ref: CollectiveRef | None) -> CollectiveKey | None:
    """Convert an optional reference for the services."""
    return None if ref is None else to_key(ref)
