"""The log of live events, read in an order in which no event appears late.

A sequence number is drawn before the commit, so a lower number can become visible after a higher one. Events
are therefore read by (xid, id), and only those of transactions older than every running one: that set is
final.

Some transaction runs nearly always (one in another database of the same PostgreSQL counts, too), and events
committed next to it have to wait. A subscriber who starts "now" has seen their effects already: a resume
point records that, and these events are not delivered again.

Transaction numbers mean something on one timeline of one server only. After a failover or a restore some
would come up again: a position carries the epoch in which it was given, and no other epoch takes it.
"""

import struct
import zlib
from base64 import b32decode, b32encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Token
from models.enums import LiveKind
from services.access.actor import Actor, is_valid_token
from services.core.errors import Invalid, InvalidState
from services.core.sql_files import read_clauses

_PREFIX = "pos_"
_POSITION = struct.Struct(">LQQ")
_XID = struct.Struct(">Q")
MAX_XIDS = 1_000
"""Running transactions that a position can list, for each delivered event carries one. If more were running,
some events are delivered twice."""


class Position(NamedTuple):
    """A point in the log: after the event with this key and before all later ones."""

    xid: int
    id: int


class SnapshotView(NamedTuple):
    """The transactions visible in a snapshot: those below `next_xid`, except the running ones."""

    next_xid: int
    running: frozenset[int]

    def includes(self, position: Position) -> bool:
        """Return True if the event at this position was visible."""
        return position.xid < self.next_xid and position.xid not in self.running


NOTHING_SEEN = SnapshotView(0, frozenset())


class ResumePoint(NamedTuple):
    """Start of a subscription: after a position, except events seen already in a snapshot."""

    position: Position
    snapshot: SnapshotView = NOTHING_SEEN
    epoch: int = 0
    """The server and its timeline, as a number."""


class Topic(NamedTuple):
    """Subject of a subscription: events of one kind about one order or collective."""

    name: str
    of_id: UUID


ORDER, TRANSACTIONS, BALANCE, CHECK_INS = "ORDER", "TRANSACTIONS", "BALANCE", "CHECK_INS"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an order, a transaction or an attendance."""

    position: Position
    kind: str
    node_id: UUID
    """Id of the order, the transaction, or the user checked in at an event."""
    collective_ids: tuple[UUID | None, ...]
    snapshot: SnapshotView = NOTHING_SEEN
    """View of the subscriber when the subscription started."""
    epoch: int = 0

    @property
    def resume_point(self) -> ResumePoint:
        """Resume point that continues after this event."""
        return ResumePoint(self.position, self.snapshot, self.epoch)

    @property
    def topics(self) -> set[Topic]:
        """Topics whose subscribers receive the event."""
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


def encode_position(start: ResumePoint) -> str:
    """Encode a position, and the snapshot if it saw more than that, as an opaque text."""
    position, snapshot, epoch = start
    body = _POSITION.pack(epoch, *position)
    running = sorted(xid for xid in snapshot.running if xid >= position.xid)
    if position.xid < snapshot.next_xid and len(running) < MAX_XIDS:
        body += b"".join(map(_XID.pack, (snapshot.next_xid, *running)))
    return _PREFIX + b32encode(body).decode().rstrip("=").lower()


def decode_position(text: str) -> ResumePoint:
    """Decode a resume point that a client sends.

    Raises:
        Invalid: the text is not a position.
    """
    body = text.removeprefix(_PREFIX).upper()
    try:
        data = b32decode(body + "=" * (-len(body) % 8))
        epoch, *key = _POSITION.unpack_from(data)
        position = Position(*key)
        xids = [xid for (xid,) in _XID.iter_unpack(data[_POSITION.size :])]
    except (ValueError, struct.error):
        raise Invalid(f"{text[:40]!r} is not a position.", field="after") from None
    if max(*position, *xids) >= 2**63 or len(xids) > MAX_XIDS:
        raise Invalid(f"{text[:40]!r} is not a position.", field="after")
    seen = SnapshotView(xids[0], frozenset(xids[1:])) if xids else NOTHING_SEEN
    return ResumePoint(position, seen, epoch)


_SQL = read_clauses(Path(__file__).parent / "sql" / "event_log.sql")
_KINDS_BY_TOPIC = {
    ORDER: [str(LiveKind.ORDER)],
    TRANSACTIONS: [str(LiveKind.TRANSACTION)],
    BALANCE: [str(LiveKind.TRANSACTION), str(LiveKind.ORDER)],
    CHECK_INS: [str(LiveKind.CHECK_IN)],
}


async def current_position(session: AsyncSession, _: Actor | None = None) -> ResumePoint:
    """Return the resume point of the current snapshot.

    Events not visible in the snapshot are delivered. No event can appear any more before its position.
    """
    return to_position(*(await session.execute(select_snapshot())).one())


def select_snapshot() -> Select[Any]:
    """Select the snapshot as text: its oldest running transaction, its next one, and those that run between.

    The server's timeline follows.
    """
    snapshot = cast(func.pg_current_snapshot(), Text)
    return select(snapshot.label("snapshot"), func.server_timeline().label("timeline"))


def to_position(text: str, timeline: str) -> ResumePoint:
    """Return the resume point of a snapshot on a timeline."""
    oldest, following, running = text.split(":")
    return ResumePoint(
        Position(int(oldest), 0),
        SnapshotView(int(following), frozenset(map(int, filter(None, running.split(","))))),
        _to_epoch(timeline),
    )


def _to_epoch(timeline: str) -> int:
    return zlib.crc32(timeline.encode())


async def events_after(
    session: AsyncSession, *, after: Position, epoch: int, count: int
) -> tuple[list[Event], Position]:
    """Load at most `count` events after a position, and the position where they are complete.

    Raises:
        InvalidState: the position is of another epoch.
    """
    rows = (
        await session.execute(_SQL["events_after"], {"xid": after.xid, "id": after.id, "count": count})
    ).all()
    _require_epoch(epoch, rows[0].timeline)
    events = [_event(row[2:], epoch) for row in rows if row.xid is not None]
    end = events[-1].position if len(events) == count else Position(rows[0].until_xid, 0)
    return events, max(end, after)


async def topic_events(
    session: AsyncSession, *, topic: Topic, after: Position, until: Position, epoch: int, count: int
) -> tuple[list[Event], Position]:
    """Load at most `count` events of a topic, and the position where they are complete.

    Raises:
        InvalidState: events after the position were deleted already, or it is of another epoch.
    """
    rows = (
        await session.execute(
            _SQL["topic_events"],
            {
                "xid": after.xid,
                "id": after.id,
                "until_xid": until.xid,
                "until_id": until.id,
                "kinds": _KINDS_BY_TOPIC[topic.name],
                "of_id": topic.of_id,
                "count": count,
            },
        )
    ).all()
    # Checked last: events deleted in the meantime would be missing above.
    await require_kept(session, ResumePoint(after, epoch=epoch))
    events = [_event(row, epoch) for row in rows]
    end = events[-1].position if len(events) == count else until
    return [event for event in events if topic in event.topics], end


async def require_kept(session: AsyncSession, start: ResumePoint) -> None:
    """Require that every event after a resume point is kept.

    Raises:
        Invalid: the resume point is not from this server.
        InvalidState: events after it were deleted already, or it is of another epoch.
    """
    xid, row_id, next_xid, timeline = (await session.execute(_SQL["oldest_event"])).one()
    _require_epoch(start.epoch, timeline)
    if max(start.position.xid, start.snapshot.next_xid) > next_xid:
        raise Invalid("The position is not from this server.", field="after")
    if start.position < (xid, row_id):
        raise InvalidState(
            "The position is older than the events kept; query again, and subscribe from `livePosition`.",
            field="after",
        )


def _require_epoch(epoch: int, timeline: str) -> None:
    if epoch != _to_epoch(timeline):
        raise InvalidState(
            "The position is from before a failover or a restore of the database; query again, and subscribe"
            " from `livePosition`.",
            field="after",
        )


async def load_valid_token_hashes(session: AsyncSession, *, hashes: Collection[bytes]) -> set[bytes]:
    """Load which of the hashes are those of tokens that are neither revoked nor expired."""
    result = await session.execute(
        select(col(Token.token_hash)).where(col(Token.token_hash).in_(hashes), *is_valid_token())
    )
    return set(result.scalars())


async def delete_old_events(session: AsyncSession, *, hours: int) -> None:
    """Delete events older than this, at most some thousands; concurrent calls do nothing."""
    await session.execute(_SQL["delete_old_events"], {"keep": timedelta(hours=hours)})


async def has_old_events(session: AsyncSession, *, hours: int) -> bool:
    """Return True if events older than this are left."""
    return bool(
        (await session.execute(_SQL["has_old_events"], {"keep": timedelta(hours=hours)})).scalar_one()
    )


def _event(row: Sequence[Any], epoch: int) -> Event:
    xid, row_id, kind, node_id, collective_ids = row
    return Event(Position(xid, row_id), kind, node_id, tuple(collective_ids), epoch=epoch)
