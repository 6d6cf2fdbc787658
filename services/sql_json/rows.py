"""Rows that PostgreSQL writes as JSON: one statement for a list and all of its selected fields.

Public ids are encoded here: PostgreSQL writes each UUID between delimiters that no text can contain, because
JSON escapes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select

from services.access.actor import Actor
from services.collectives import members
from services.core import public_ids
from services.sql_json import builder
from services.sql_json.shape import BoundShape, SqlJsonUnavailable

_ROW_SEPARATOR = "\0"
"""Separates rows. No text in PostgreSQL contains it."""


class JsonRow:
    """The JSON of one row, or of all rows of a list, separated by commas."""

    # Not a dataclass: the JSON encoder would serialize its fields instead of calling our hook.
    __slots__ = ("cost", "sort_key", "text")

    def __init__(self, text: str, cost: int, sort_key: Any) -> None:
        """Keep the text, the number of objects in it besides the row, and the sort key."""
        self.text, self.cost, self.sort_key = text, cost, sort_key

    @property
    def id(self) -> UUID:
        """The row's id."""
        row_id: UUID = self.sort_key.id
        return row_id

    def __getattr__(self, name: str) -> Any:
        """Return the column that the row is sorted by, as a database row has it."""
        return getattr(self.sort_key, name)


@dataclass(frozen=True)
class JsonRead:
    """A read of rows as JSON; `services.database.fetch` runs it."""

    bound: BoundShape

    @property
    def table(self) -> Any:
        """The table of the rows."""
        return self.bound.shape.table

    @property
    def name(self) -> tuple[Any, ...]:
        """The key that distinguishes the statement from others."""
        keys = (value for value in self.bound.arguments.values() if isinstance(value, members.MembersKey))
        return (self.bound.shape, *keys)

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statement's parameters."""
        return {key: value for key, value in self.bound.arguments.items() if isinstance(value, str)}

    def statement(self, actor: Actor, inner: Select[Any], key: str, *, descending: bool) -> Select[Any]:
        """Build the statement that writes the rows of `inner` as JSON. Order: `key`, then id."""
        return builder.json_statement(actor, self.bound, inner, key=key, descending=descending)

    @property
    def as_one_text(self) -> bool:
        """True if a page is written as one text, because no field needs to know of further pages."""
        return self.bound.shape.as_one_text

    def rows(self, records: Sequence[Any]) -> list[JsonRow]:
        """Convert the records of the statement to rows; a page written as one text becomes one row.

        Raises:
            SqlJsonUnavailable: a non-null value is NULL.
        """
        # In one pass over the joined text: work for each row adds up in a list of a hundred.
        text = _ROW_SEPARATOR.join([record.text for record in records if record.text is not None])
        if builder.NULL_VIOLATION in text:
            raise SqlJsonUnavailable
        if builder.ID_DELIMITER in text:
            parts = text.split(builder.ID_DELIMITER)
            parts[1::2] = [_encode_id(part) for part in parts[1::2]]
            text = "".join(parts)
        texts = text.split(_ROW_SEPARATOR) if text else ()
        return [JsonRow(text, record.cost, record) for text, record in zip(texts, records, strict=False)]


@lru_cache(maxsize=20_000)
def _encode_id(type_and_uuid: str) -> str:
    """Encode "Type UUID" as a public id; cached, because the same few rows recur."""
    type_name, _, row_id = type_and_uuid.partition(" ")
    return public_ids.encode(type_name, UUID(row_id))
