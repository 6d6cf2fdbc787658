"""Who has a place at an event, and who waits for one. Always under a lock of the event's row."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Member, now
from models.enums import CollectiveType, MemberRole
from services.access.collective_refs import require_open
from services.core.errors import Invalid, InvalidState, NotFound
from services.messaging import event_notifications

PATH = ["input", "event"]
REGISTERED = (MemberRole.ATTENDEE, MemberRole.WAITING)


def require_event(row: Collective) -> None:
    """Let through an event.

    Raises:
        Invalid: it is another kind of collective.
    """
    if row.type != CollectiveType.EVENT:
        raise Invalid(f"{row.slug} is not an event", path=PATH)


async def locked(session: AsyncSession, event: Collective) -> Collective:
    """Return the event as it is now, and keep others from changing it or its places until commit."""
    statement = (
        select(Collective)
        .where(col(Collective.id) == event.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


def require_takes_place(event: Collective, *, over_allowed: bool = False) -> None:
    """Let through an event that is neither archived, nor called off, nor over.

    Raises:
        InvalidState: it is.
    """
    require_open(event, path=PATH)
    if event.cancelled_at is not None:
        raise InvalidState("The event was cancelled", path=PATH)
    if is_over(event) and not over_allowed:
        raise InvalidState("The event is over", path=PATH)


def is_over(event: Collective) -> bool:
    """Whether the event has ended."""
    return event.ends_at is not None and event.ends_at <= now()


async def rows_of(
    session: AsyncSession, event: Collective, *, user_ids: Sequence[UUID]
) -> dict[UUID, Member]:
    """Return the users' open rows ATTENDEE or WAITING; one statement."""
    statement = select(Member).where(
        col(Member.collective_id) == event.id,
        col(Member.member_id).in_(user_ids),
        col(Member.role).in_(REGISTERED),
        col(Member.until).is_(None),
    )
    return {row.member_id: row for row in (await session.execute(statement)).scalars()}


def counted() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return the two counts of a group of open rows: registered, and waiting."""
    registered, waiting = (func.count().filter(col(Member.role) == role) for role in REGISTERED)
    return registered, waiting


async def count(session: AsyncSession, event: Collective) -> tuple[int, int]:
    """Return how many are registered, and how many wait."""
    statement = select(*counted()).where(
        col(Member.collective_id) == event.id, col(Member.role).in_(REGISTERED), col(Member.until).is_(None)
    )
    attending, waiting = (await session.execute(statement)).one()
    return attending, waiting


async def take(
    session: AsyncSession, event: Collective, *, user_ids: Sequence[UUID], by_id: UUID | None
) -> dict[UUID, Member]:
    """Register users who are not yet, in their order: ATTENDEE while there is a place, else WAITING.

    Who waits already comes before them. Needs the lock.
    """
    if not user_ids:
        return {}
    room = len(user_ids)
    if event.capacity is not None:
        attending, waiting = await count(session, event)
        if waiting and attending < event.capacity:  # a place that was left unseen, as by a merge of users
            await move_up(session, event)
            attending, waiting = await count(session, event)
        room = max(0, event.capacity - attending - waiting)
    rows = {
        user_id: _row(event, user_id, MemberRole.ATTENDEE if i < room else MemberRole.WAITING, by_id)
        for i, user_id in enumerate(user_ids)
    }
    session.add_all(rows.values())
    await session.flush()
    return rows


async def end(session: AsyncSession, event: Collective, row: Member) -> None:
    """End a place or a wait; the longest waiting gets the place. Needs the lock."""
    row.until = max(now(), row.since)
    await session.flush()
    await move_up(session, event)


async def give_back(session: AsyncSession, row: Member) -> None:
    """End the row of one whom an ADMIN takes off the list, or who leaves it. Needs the lock.

    Raises:
        NotFound: it was ended meanwhile: who waited may have moved up.
        InvalidState: the attendee was checked in.
    """
    path = ["input", "id"]
    await session.refresh(row)
    if row.until is not None:
        raise NotFound("There is no such member", path=path)
    await require_not_checked_in(session, row.collective_id, row.member_id, path=path)
    event = await session.get_one(Collective, row.collective_id, populate_existing=True)
    await end(session, event, row)


async def move_up(session: AsyncSession, event: Collective) -> None:
    """Give the places that are free to those who wait longest, and tell them. Needs the lock.

    Nobody moves up once the event is over, called off or archived.
    """
    if is_over(event) or event.cancelled_at is not None or event.archived_at is not None:
        return
    first = (
        select(Member)
        .where(
            col(Member.collective_id) == event.id,
            col(Member.role) == MemberRole.WAITING,
            col(Member.until).is_(None),
        )
        .order_by(col(Member.since), col(Member.id))
    )
    if event.capacity is not None:
        attending, waiting = await count(session, event)
        if not waiting or attending >= event.capacity:
            return
        first = first.limit(event.capacity - attending)
    rows = list((await session.execute(first)).scalars())
    if not rows:
        return
    for row in rows:
        row.until = max(now(), row.since)
        session.add(_row(event, row.member_id, MemberRole.ATTENDEE, row.created_by_id))
    await session.flush()
    await event_notifications.moved_up(session, event, user_ids=[row.member_id for row in rows])


def _row(event: Collective, user_id: UUID, role: MemberRole, by_id: UUID | None) -> Member:
    return Member(collective_id=event.id, member_id=user_id, role=role, created_by_id=by_id)


async def require_not_checked_in(
    session: AsyncSession, event_id: UUID, user_id: UUID, *, path: Sequence[str]
) -> None:
    """Let through who was not checked in.

    Raises:
        InvalidState: they were.
    """
    if await attendance(session, event_id, user_id) is not None:
        raise InvalidState("Who was checked in stays registered", path=path)


async def attendance(session: AsyncSession, event_id: UUID, user_id: UUID) -> Attendance | None:
    """Return that a user was at an event, if so."""
    statement = select(Attendance).where(
        col(Attendance.event_id) == event_id, col(Attendance.user_id) == user_id
    )
    return (await session.execute(statement)).scalar_one_or_none()
