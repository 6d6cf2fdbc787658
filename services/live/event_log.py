"""Live events, read in an order in which none appears late: up to the oldest database transaction that runs.

A sequence is drawn before the commit, so that a lower number may come to be seen after a higher one. Events
are read by (xid, id) instead, and only those of transactions older than all that still run: that set is
final.

Some transaction nearly always runs (one of another database of the same PostgreSQL counts as well), and what
was committed beside it waits. Who begins "now" has seen that already: a start says so, and it is not told
again.
"""

import struct
from base64 import b32decode, b32encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Token, now
from models.enums import LiveKind
from services.access.actor import Actor
from services.core.errors import Invalid, InvalidState

_PREFIX = "pos_"
_PLACE = struct.Struct(">QQ")
_XID = struct.Struct(">Q")
MAX_XIDS = 1_000
"""In a position, for each event that is told carries them. Where more wrote at once, some is told twice."""


class Position(NamedTuple):
    """A place between events: after the event of this name, and before all later ones."""

    xid: int
    id: int


class Seen(NamedTuple):
    """What a snapshot showed: the transactions below `next_xid` but for those that ran."""

    next_xid: int
    running: frozenset[int]

    def includes(self, position: Position) -> bool:
        """Tell whether an event was to be seen."""
        return position.xid < self.next_xid and position.xid not in self.running


NOTHING = Seen(0, frozenset())


class Start(NamedTuple):
    """From where on one is told: after a position, but for what had been seen."""

    position: Position
    seen: Seen = NOTHING


class Topic(NamedTuple):
    """What one watches: events of a kind about an order or a collective."""

    name: str
    of_id: UUID


ORDER, TRANSACTIONS, BALANCE, CHECK_INS = "ORDER", "TRANSACTIONS", "BALANCE", "CHECK_INS"


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed."""

    position: Position
    kind: str
    node_id: UUID
    """The order, the transaction, or the user who came to an event."""
    collective_ids: tuple[UUID | None, ...]
    seen: Seen = NOTHING
    """What whoever is told this had seen when they began."""

    @property
    def start(self) -> Start:
        """From where on one is told what comes after this."""
        return Start(self.position, self.seen)

    @property
    def topics(self) -> set[Topic]:
        """What those watch who are to be told."""
        concerned = {i for i in self.collective_ids if i is not None}
        match self.kind:
            case LiveKind.ORDER:
                return {Topic(ORDER, self.node_id)} | {Topic(BALANCE, i) for i in concerned}
            case LiveKind.TRANSACTION:
                sides = {Topic(TRANSACTIONS, i) for i in self.collective_ids[:2] if i is not None}
                return sides | {Topic(BALANCE, i) for i in concerned}
            case LiveKind.CHECK_IN:
                return {Topic(CHECK_INS, i) for i in concerned}
            case _:
                return set()


def encode(start: Start) -> str:
    """Return a start as clients keep it: a position, and what had been seen beyond it if anything was."""
    position, seen = start
    body = _PLACE.pack(*position)
    running = sorted(xid for xid in seen.running if xid >= position.xid)
    if position.xid < seen.next_xid and len(running) < MAX_XIDS:
        body += b"".join(map(_XID.pack, (seen.next_xid, *running)))
    return _PREFIX + b32encode(body).decode().rstrip("=").lower()


def decode(given: str) -> Start:
    """Return the start that a client kept.

    Raises:
        Invalid: it is none.
    """
    body = given.removeprefix(_PREFIX).upper()
    try:
        found = b32decode(body + "=" * (-len(body) % 8))
        position = Position(*_PLACE.unpack_from(found))
        xids = [xid for (xid,) in _XID.iter_unpack(found[_PLACE.size :])]
    except (ValueError, struct.error):
        raise Invalid(f"{given[:40]!r} is not a position", path=["after"]) from None
    if max(*position, *xids) >= 2**63 or len(xids) > MAX_XIDS:
        raise Invalid(f"{given[:40]!r} is not a position", path=["after"])
    return Start(position, Seen(xids[0], frozenset(xids[1:])) if xids else NOTHING)


_MARK = text("SELECT pg_current_snapshot()::text")
_NEWS = text(
    "WITH mark AS MATERIALIZED (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS mark_xid)"
    " SELECT mark.mark_xid, e.* FROM mark LEFT JOIN LATERAL (SELECT xid, id, kind, node_id, collective_ids"
    " FROM live_event WHERE (xid, id) > (:xid, :id) AND xid < mark.mark_xid"
    " ORDER BY xid, id LIMIT :count) e ON true ORDER BY e.xid, e.id"
)
_SINCE = text(
    "SELECT xid, id, kind, node_id, collective_ids FROM live_event"
    " WHERE (xid, id) > (:xid, :id) AND (xid, id) <= (:until_xid, :until_id)"
    " AND kind = ANY(CAST(:kinds AS text[]))"
    " AND (node_id = :of_id OR CAST(:of_id AS uuid) = ANY(collective_ids)) ORDER BY xid, id LIMIT :count"
)
_KEPT = text(
    "SELECT xid, id, pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM live_event"
    " ORDER BY xid, id LIMIT 1"
)
_PRUNE = text("SELECT live_prune(:keep)")
_KINDS = {
    ORDER: [str(LiveKind.ORDER)],
    TRANSACTIONS: [str(LiveKind.TRANSACTION)],
    BALANCE: [str(LiveKind.TRANSACTION), str(LiveKind.ORDER)],
    CHECK_INS: [str(LiveKind.CHECK_IN)],
}


async def mark(session: AsyncSession, _: Actor | None = None) -> Start:
    """Return a start with what this snapshot does not show.

    Its position is the one up to which no event can appear any more.
    """
    oldest, following, running = (await session.execute(_MARK)).scalar_one().split(":")
    return Start(
        Position(int(oldest), 0), Seen(int(following), frozenset(map(int, filter(None, running.split(",")))))
    )


async def news(session: AsyncSession, *, after: Position, count: int) -> tuple[list[Event], Position]:
    """Return at most `count` events after a position, in order, and the position up to which that is all."""
    rows = (await session.execute(_NEWS, {"xid": after.xid, "id": after.id, "count": count})).all()
    events = [_event(row[1:]) for row in rows if row.xid is not None]
    end = events[-1].position if len(events) == count else Position(rows[0].mark_xid, 0)
    return events, max(end, after)


async def since(
    session: AsyncSession, *, topic: Topic, after: Position, until: Position, count: int
) -> tuple[list[Event], Position]:
    """Return at most `count` events of a topic in a stretch, and the position up to which that is all.

    Raises:
        InvalidState: what came after the position is not kept any more.
    """
    rows = (
        await session.execute(
            _SINCE,
            {
                "xid": after.xid,
                "id": after.id,
                "until_xid": until.xid,
                "until_id": until.id,
                "kinds": _KINDS[topic.name],
                "of_id": topic.of_id,
                "count": count,
            },
        )
    ).all()
    # Looked at last: what was pruned meanwhile would be missing above.
    await require_kept(session, Start(after))
    events = [_event(row) for row in rows]
    end = events[-1].position if len(events) == count else until
    return [event for event in events if topic in event.topics], end


async def require_kept(session: AsyncSession, start: Start) -> None:
    """Let through a start after whose position every event is kept.

    Raises:
        Invalid: this server has not given it.
        InvalidState: some of what came after it has been pruned.
    """
    xid, row_id, next_xid = (await session.execute(_KEPT)).one()
    if max(start.position.xid, start.seen.next_xid) > next_xid:
        raise Invalid("The position is not one of this server", path=["after"])
    if start.position < (xid, row_id):
        raise InvalidState(
            "The position is older than what is kept; read anew, and subscribe from `livePosition`",
            path=["after"],
        )


async def good_tokens(session: AsyncSession, *, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the tokens, by their hashes, that are neither revoked nor expired."""
    found = await session.execute(
        select(col(Token.token_hash)).where(
            col(Token.token_hash).in_(hashes), col(Token.revoked_at).is_(None), col(Token.expires_at) > now()
        )
    )
    return set(found.scalars())


async def prune(session: AsyncSession, *, hours: int) -> None:
    """Delete events older than that, some thousands at most; one caller at a time, others do nothing."""
    await session.execute(_PRUNE, {"keep": timedelta(hours=hours)})


def _event(row: Sequence[Any]) -> Event:
    xid, row_id, kind, node_id, collective_ids = row
    return Event(Position(xid, row_id), kind, node_id, tuple(collective_ids))
