"""Queries that PostgreSQL answers as JSON: one statement for all root fields and all of their fields.

Public ids and cursors are encoded here: PostgreSQL writes what they are made of between delimiters that no
text can contain, because JSON escapes them.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.access import rate_budget
from services.access.actor import ANONYMOUS, Actor
from services.access.rate_limits import Charge
from services.access.viewer_cache import StaleViewer
from services.core import pagination, public_ids
from services.database import fetch
from services.database.read_batches import ReadNotDone
from services.database.read_lane import lane_of
from services.live import event_log
from services.sql_json import builder
from services.sql_json.arguments import ListArguments
from services.sql_json.fragments import CURSOR_MARK, ID_DELIMITER, NULL_VIOLATION, POSITION_MARK
from services.sql_json.shape import BoundShape, Constant, SqlJsonUnavailable, is_required


class JsonText:
    """The JSON of one field at a query's root."""

    # Not a dataclass: the JSON encoder would serialize its fields instead of calling our hook.
    __slots__ = ("cost", "text")

    def __init__(self, text: str, cost: int) -> None:
        """Keep the text, and the cost of the objects in it besides the one that it is."""
        self.text, self.cost = text, cost


class StatementName:
    """The key that distinguishes a statement from others. It is large, so its hash is computed once."""

    __slots__ = ("_hash", "_key")

    def __init__(self, key: Hashable) -> None:
        """Hash the key."""
        self._key, self._hash = key, hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, StatementName) and self._key == other._key)


@dataclass(frozen=True)
class JsonRead:
    """A query that PostgreSQL answers as JSON."""

    bound: BoundShape
    name: StatementName
    values: dict[str, Any]
    """The values of the statement's parameters."""
    is_new: bool = False
    """True if it may never be needed again."""

    @classmethod
    def of(cls, bound: BoundShape) -> Self:
        """Return the read of a shape with its arguments.

        Raises:
            Invalid: a cursor is not one of its list.
        """
        keys = (value.key for value in bound.arguments.values())
        return cls(bound, StatementName((bound.shape, *keys)), _values_of(bound))

    def with_charge(self, charge: Charge | None) -> Self:
        """Return the same read for an operation that was charged points, if it tells of them."""
        names = [
            f"{name}_facts"
            for name, value in self.bound.arguments.items()
            if isinstance(value, ListArguments) and isinstance(value.where, rate_budget.ChargeFacts)
        ]
        if not names:
            return self
        facts = rate_budget.to_charge_facts(charge).facts
        return replace(self, values=self.values | dict.fromkeys(names, facts))

    def again(self) -> Self:
        """Return the same read now, for arguments may stand for the present moment."""
        return replace(self, values=_values_of(self.bound))


def _values_of(bound: BoundShape) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        values |= value.values(name)
    return values


async def read_json(
    session: AsyncSession, actor: Actor, *, read: JsonRead, checks_viewer: bool = False
) -> dict[str, JsonText | None]:
    """Read the answer to a query, by response key; one statement.

    With `checks_viewer` it also finds whether a viewer from the cache is still the same.

    Raises:
        StaleViewer: the viewer has changed.
        SqlJsonUnavailable: PostgreSQL cannot write it, because of an error that graphql-core has to tell.
    """
    records = await fetch.fetch_rows(
        session,
        actor,
        name=("json", read.name, checks_viewer),
        build=lambda: builder.json_statement(actor, read.bound, checks_viewer=checks_viewer),
        keeps=not read.is_new,
        **read.values,
    )
    return _to_data(actor, read, records, checks_viewer=checks_viewer)


async def read_json_together(
    engine: AsyncEngine, actor: Actor, *, read: JsonRead, checks_viewer: bool, ends_at: float
) -> dict[str, JsonText | None]:
    """Read the answer to a query as `read_json` does, in one round trip with the reads of others.

    Nothing is read for a query of constants, such as `{ __typename }`.

    Raises:
        ReadNotDone: something went wrong, or PostgreSQL cannot write the answer; run the query another way.
        StaleViewer: the viewer has changed.
        TimeoutError: it was not answered until `ends_at`, a time of the loop.
    """
    roots = read.bound.shape.roots
    if not checks_viewer and all(isinstance(root, Constant) for _, root in roots):
        return {key: JsonText(root.json, 0) for key, root in roots if isinstance(root, Constant)}
    statement, parameters = fetch.prepare_rows(
        actor,
        name=("json", read.name, checks_viewer),
        build=lambda: builder.json_statement(actor, read.bound, checks_viewer=checks_viewer),
        keeps=not read.is_new,
        **read.values,
    )
    with fetch.listened(engine, statement, parameters):
        rows = await lane_of(engine).fetch(
            statement.encoded, parameters, ends_at=ends_at, is_prepared=not read.is_new
        )
    records = [(int(root or 0), (text or b"").decode(), int(cost or 0)) for root, text, cost in rows]
    try:
        return _to_data(actor, read, records, checks_viewer=checks_viewer)
    except SqlJsonUnavailable:
        raise ReadNotDone from None


def _to_data(
    actor: Actor, read: JsonRead, records: Iterable[tuple[int, str, int]], *, checks_viewer: bool
) -> dict[str, JsonText | None]:
    """Return the texts of the roots by response key, with their ids and cursors.

    Raises:
        StaleViewer: the viewer has changed.
        SqlJsonUnavailable: a non-null value is NULL, or a row is missing that is required.
    """
    data: dict[str, JsonText | None] = {key: None for key, _ in read.bound.shape.roots}
    keys = list(data)
    version = None
    for root, text, cost in records:
        if root == builder.VIEWER_ROOT:
            version = int(text)
        else:
            data[keys[root]] = JsonText(_encode(text), cost)
    if checks_viewer and version != actor.version:
        raise StaleViewer
    if any(data[key] is None and is_required(root) for key, root in read.bound.shape.roots):
        raise SqlJsonUnavailable
    return data


def to_data(read: JsonRead, records: Iterable[tuple[int, str, int]]) -> dict[str, JsonText | None]:
    """Return the texts of the roots by response key, of a statement that checks no viewer."""
    return _to_data(ANONYMOUS, read, records, checks_viewer=False)


def _encode(text: str) -> str:
    """Put in the ids and cursors.

    Raises:
        SqlJsonUnavailable: a non-null value is NULL.
    """
    if NULL_VIOLATION in text:
        raise SqlJsonUnavailable
    if ID_DELIMITER not in text:
        return text
    parts = text.split(ID_DELIMITER)
    parts[1::2] = [_encode_part(part) for part in parts[1::2]]
    return "".join(parts)


@lru_cache(maxsize=20_000)
def _encode_part(part: str) -> str:
    """Encode "Type UUID" as a public id, or "@sort UUID value" as a cursor.

    Cached, because the same few rows recur.
    """
    if part.startswith(POSITION_MARK):
        snapshot, _, timeline = part.removeprefix(POSITION_MARK).partition(" ")
        return event_log.encode_position(event_log.to_position(snapshot, timeline))
    if not part.startswith(CURSOR_MARK):
        type_name, _, row_id = part.partition(" ")
        return public_ids.encode(type_name, UUID(row_id))
    sort, row_id, value = part.removeprefix(CURSOR_MARK).split(" ", 2)
    is_json = value.startswith('"') or value.isdecimal()
    key: Any = orjson.loads(value) if is_json else datetime.fromisoformat(value)
    return pagination.encode_position(sort, key, UUID(row_id))
