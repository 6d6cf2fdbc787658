"""Rows written as JSON by PostgreSQL: one statement for a list and all that is shown of it.

What may be seen is asked of the same predicates as everywhere. Ids are left to us: PostgreSQL writes the UUID
between marks, which no text can hold, for JSON escapes them there.
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
from services.sql_json.shape import Asked, Unwritten

_BETWEEN = "\0"
"""Between rows; PostgreSQL has no text with it."""


class Written:
    """A row as it is answered, or rows behind each other as they stand in a list."""

    # No dataclass: the encoder is to ask what it is to write.
    __slots__ = ("cost", "place", "text")

    def __init__(self, text: str, cost: int, place: Any) -> None:
        """Hold the text, and how many objects stand in it besides itself.

        `place` says where it stands, if that was asked for: its id, and what it is sorted by.
        """
        self.text, self.cost, self.place = text, cost, place

    @property
    def id(self) -> UUID:
        """The row's id."""
        found: UUID = self.place.id
        return found

    def __getattr__(self, name: str) -> Any:
        """Return what the row is sorted by."""
        return getattr(self.place, name)


@dataclass(frozen=True)
class Writing:
    """How the rows are read of which all is shown that is asked for. `rows` calls it."""

    asked: Asked

    @property
    def table(self) -> Any:
        """Whose rows these are."""
        return self.asked.shown.table

    @property
    def name(self) -> tuple[Any, ...]:
        """What tells the statement from others."""
        keys = (value for value in self.asked.given.values() if isinstance(value, members.MembersKey))
        return (self.asked.shown, *keys)

    @property
    def values(self) -> dict[str, Any]:
        """The values of its parameters."""
        return {key: value for key, value in self.asked.given.items() if isinstance(value, str)}

    def statement(self, actor: Actor, inner: Select[Any], key: str, *, descending: bool) -> Select[Any]:
        """Return what writes the rows that `inner` finds, in the order of `key` and the id."""
        return builder.statement(actor, self.asked, inner, key=key, descending=descending)

    @property
    def is_whole(self) -> bool:
        """Whether a page is written as a whole, and nobody asks whether there is more."""
        return self.asked.shown.is_whole

    def rows(self, found: Sequence[Any]) -> list[Written]:
        """Return the rows that the statement found; those of a page that is written as a whole as one.

        Raises:
            Unwritten: a value that is never null would be.
        """
        # All at once: what is done for each row counts, of a list of a hundred.
        text = _BETWEEN.join([row.text for row in found if row.text is not None])
        if builder.REFUSED in text:
            raise Unwritten
        if builder.MARK in text:
            parts = text.split(builder.MARK)
            parts[1::2] = [_public_id(part) for part in parts[1::2]]
            text = "".join(parts)
        texts = text.split(_BETWEEN) if text else ()
        return [Written(text, row.cost, row) for text, row in zip(texts, found, strict=False)]


@lru_cache(maxsize=20_000)
def _public_id(marked: str) -> str:
    """Return the public id of what stands between marks: the same few things are shown again and again."""
    kind, _, row_id = marked.partition(" ")
    return public_ids.encode(kind, UUID(row_id))
