"""What acts changed: the columns of a row, before and after, by the names that the API has for them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    Select,
    Text,
    Uuid,
    any_,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Act
from services.core.pagination import Sort

_NUMBER: Any = column("n", Integer)
BY_NAME = Sort("value", _NUMBER, _NUMBER, descending=False)
_COLUMNS: dict[str, Any] = {"old_values": JSONB(), "new_values": JSONB(), "hidden_columns": ARRAY(Text)}


@dataclass(frozen=True)
class ActValue:
    """A column that an act changed; of a reference, the ids of collectives in place of texts."""

    field: str
    old: str | None
    old_id: UUID | None
    new: str | None
    new_id: UUID | None
    is_hidden: bool


def select_values(actor: object = None, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select what an act changed, by name, from its columns.

    References are of collectives. The values of hidden columns were never written.
    """
    del actor, where  # whoever sees an act sees its values
    keys = union(
        select(_each(func.jsonb_object_keys(owner.old_values))),
        select(_each(func.jsonb_object_keys(owner.new_values))),
        select(_each(func.unnest(owner.hidden_columns))),
    ).subquery("key")
    name = keys.c.name
    words = func.initcap(func.replace(func.regexp_replace(name, literal_column("'_id$'"), ""), "_", " "))
    joined = func.replace(words, " ", "")
    columns = [
        func.row_number().over(order_by=name.collate("C")).label("n"),
        func.concat(func.lower(func.left(joined, 1)), func.substr(joined, 2)).label("field"),
        (name == any_(owner.hidden_columns)).label("is_hidden"),
        *_side(owner.old_values, name, "old"),
        *_side(owner.new_values, name, "new"),
    ]
    return (select(select(*columns).subquery("value")),)


def _each(names: Any) -> Any:
    return names.table_valued(column("name", Text)).render_derived(name="each").c.name


def _side(values: Any, name: Any, label: str) -> list[Any]:
    """Select the value of a column as a reference or a text."""
    text = func.jsonb_extract_path_text(values, name)
    is_text = func.jsonb_typeof(func.jsonb_extract_path(values, name)) == "string"
    is_reference = func.right(name, 3) == "_id"
    return [
        case((is_reference, cast(text, Uuid))).label(f"{label}_id"),
        case((is_reference, None), (is_text, text), else_=_compact(text)).label(label),
    ]


def _compact(json: Any) -> Any:
    """Leave out the spaces that PostgreSQL writes between the parts of a JSON text."""
    parts: Any = literal_column(r"""'("(?:[^"\\]|\\.)*")|([,:]) '""")
    return func.regexp_replace(json, parts, literal_column(r"'\1\2'"), "g")


async def load_values(session: AsyncSession, *, act_ids: Sequence[UUID]) -> dict[UUID, list[ActValue]]:
    """Load what acts changed, by name; one statement."""
    owner: dict[str, Any] = {name: literal_column(f"act.{name}", type_) for name, type_ in _COLUMNS.items()}
    (values,) = select_values(owner=SimpleNamespace(**owner))
    value = values.lateral("changed")
    statement = (
        select(col(Act.id), *(value.c[field.name] for field in fields(ActValue)))
        .join(value, true())
        .where(col(Act.id).in_(act_ids))
        .order_by(value.c.n)
    )
    by_id: dict[UUID, list[ActValue]] = {act_id: [] for act_id in act_ids}
    for act_id, *row in await session.execute(statement):
        by_id[act_id].append(ActValue(*row))
    return by_id
