"""Event capacity: attendees and the waiting list. Callers hold a lock on the event's row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Member, now
from models.enums import CollectiveType, MemberRole, NamedBy
from services.access.collective_refs import require_open
from services.core.errors import Invalid, InvalidState, NotFound
from services.messaging import event_notifications

EVENT_FIELD = "event"
REGISTRATION_ROLES = (MemberRole.ATTENDEE, MemberRole.WAITING)
"""Roles of a registered user: with a place, and on the waiting list."""


def require_event(row: Collective) -> None:
    """Require that a collective is an event.

    Raises:
        Invalid: it is another type of collective.
    """
    if row.type != CollectiveType.EVENT:
        raise Invalid(f"{row.slug} is not an event. Choose an event.", field=EVENT_FIELD)


async def lock_event(session: AsyncSession, event: Collective) -> Collective:
    """Reload an event and lock it until commit: nobody else can change it or its registrations."""
    statement = (
        select(Collective)
        .where(col(Collective.id) == event.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


def require_active(event: Collective, *, may_be_over: bool = False, at: datetime | None = None) -> None:
    """Require that an event is neither archived nor cancelled nor, unless `may_be_over`, over by `at` or now.

    Raises:
        InvalidState: it is archived, cancelled or over.
    """
    require_open(event, field=EVENT_FIELD)
    if event.cancelled_at is not None:
        raise InvalidState("The event has been cancelled.", field=EVENT_FIELD)
    if is_over(event, at=at) and not may_be_over:
        raise InvalidState("The event is over.", field=EVENT_FIELD)


def is_over(event: Collective, *, at: datetime | None = None) -> bool:
    """True if the event has ended by `at` or now."""
    return event.ends_at is not None and event.ends_at <= (at or now())


async def load_registrations(
    session: AsyncSession, event: Collective, *, user_ids: Sequence[UUID]
) -> dict[UUID, Member]:
    """Load the users' open ATTENDEE or WAITING rows, by user; one statement."""
    statement = select(Member).where(
        col(Member.collective_id) == event.id,
        col(Member.member_id).in_(user_ids),
        col(Member.role).in_(REGISTRATION_ROLES),
        col(Member.until).is_(None),
    )
    return {row.member_id: row for row in (await session.execute(statement)).scalars()}


def count_columns() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Build the SQL counts of a group of open rows: attendees, and those waiting."""
    registered, waiting = (func.count().filter(col(Member.role) == role) for role in REGISTRATION_ROLES)
    return registered, waiting


async def count_registrations(session: AsyncSession, event: Collective) -> tuple[int, int]:
    """Count an event's attendees, and those on its waiting list."""
    statement = select(*count_columns()).where(
        col(Member.collective_id) == event.id,
        col(Member.role).in_(REGISTRATION_ROLES),
        col(Member.until).is_(None),
    )
    attending, waiting = (await session.execute(statement)).one()
    return attending, waiting


async def register_users(
    session: AsyncSession,
    event: Collective,
    *,
    user_ids: Sequence[UUID],
    by_id: UUID | None,
    named_by: Mapping[UUID, NamedBy] = MappingProxyType({}),
) -> dict[UUID, Member]:
    """Register users in their order: ATTENDEE while places are free, then WAITING.

    None of them may be registered yet. `named_by` holds those who have not agreed. Those on the waiting list
    get free places first. Needs the lock.
    """
    if not user_ids:
        return {}
    room = len(user_ids)
    if event.capacity is not None:
        attending, waiting = await count_registrations(session, event)
        if waiting and attending < event.capacity:  # a place freed unnoticed, as by merging users
            await promote_waiting(session, event)
            attending, waiting = await count_registrations(session, event)
        room = max(0, event.capacity - attending - waiting)
    rows = {}
    for i, user_id in enumerate(user_ids):
        role = MemberRole.ATTENDEE if i < room else MemberRole.WAITING
        rows[user_id] = _new_member(event, user_id, role, by_id, named_by.get(user_id))
    session.add_all(rows.values())
    await session.flush()
    return rows


async def end_registration(session: AsyncSession, event: Collective, row: Member) -> None:
    """End a registration; its place goes to whoever has waited longest. Needs the lock."""
    row.until = max(now(), row.since)
    await session.flush()
    await promote_waiting(session, event)


async def remove_attendee(session: AsyncSession, row: Member) -> None:
    """End a registration on request of an ADMIN or of the user. Needs the lock.

    Raises:
        NotFound: the row has ended meanwhile, as when its user moved up from the waiting list.
        InvalidState: the attendee was checked in.
    """
    field = "id"
    await session.refresh(row)
    if row.until is not None:
        raise NotFound("There is no such member.", field=field)
    await require_not_checked_in(session, row.collective_id, row.member_id, field=field)
    event = await session.get_one(Collective, row.collective_id, populate_existing=True)
    await end_registration(session, event, row)


async def promote_waiting(session: AsyncSession, event: Collective) -> None:
    """Give free places to those who have waited longest, and notify them. Needs the lock.

    Nobody moves up when the event is over, cancelled or archived.
    """
    if is_over(event) or event.cancelled_at is not None or event.archived_at is not None:
        return
    longest_waiting = (
        select(Member)
        .where(
            col(Member.collective_id) == event.id,
            col(Member.role) == MemberRole.WAITING,
            col(Member.until).is_(None),
        )
        .order_by(col(Member.since), col(Member.id))
    )
    if event.capacity is not None:
        attending, waiting = await count_registrations(session, event)
        if not waiting or attending >= event.capacity:
            return
        longest_waiting = longest_waiting.limit(event.capacity - attending)
    rows = list((await session.execute(longest_waiting)).scalars())
    if not rows:
        return
    for row in rows:
        row.until = max(now(), row.since)
        attendee = _new_member(event, row.member_id, MemberRole.ATTENDEE, row.created_by_id, row.named_by)
        session.add(attendee)
    await session.flush()
    await event_notifications.notify_promotion(session, event, user_ids=[row.member_id for row in rows])


def _new_member(
    event: Collective, user_id: UUID, role: MemberRole, by_id: UUID | None, named_by: NamedBy | None
) -> Member:
    return Member(
        collective_id=event.id, member_id=user_id, role=role, created_by_id=by_id, named_by=named_by
    )


async def require_not_checked_in(session: AsyncSession, event_id: UUID, user_id: UUID, *, field: str) -> None:
    """Require that a user has not been checked in at an event.

    Raises:
        InvalidState: the user has been checked in.
    """
    if await load_attendance(session, event_id, user_id) is not None:
        raise InvalidState("Attendees who have been checked in stay registered.", field=field)


async def load_attendance(session: AsyncSession, event_id: UUID, user_id: UUID) -> Attendance | None:
    """Load a user's attendance of an event, or None."""
    statement = select(Attendance).where(
        col(Attendance.event_id) == event_id, col(Attendance.user_id) == user_id
    )
    return (await session.execute(statement)).scalar_one_or_none()


@dataclass(frozen=True)
class RegistrationCounts:
    """Numbers of an event's attendees and of its waiting list."""

    registered: int = 0
    waiting: int = 0


def select_counts(event: Any) -> Select[int, int]:
    """Select the numbers of attendees and of people waiting of an event, whose columns are given."""
    registered, waiting = count_columns()
    return select(registered.label("registered"), waiting.label("waiting")).where(
        col(Member.collective_id) == event.id,
        col(Member.role).in_(REGISTRATION_ROLES),
        col(Member.until).is_(None),
    )


async def count_by_event(
    session: AsyncSession, *, event_ids: Sequence[UUID]
) -> dict[UUID, RegistrationCounts]:
    """Count registrations by event; one statement. Events without any are left out."""
    statement = (
        select(col(Member.collective_id), *count_columns())
        .where(
            col(Member.collective_id).in_(event_ids),
            col(Member.role).in_(REGISTRATION_ROLES),
            col(Member.until).is_(None),
        )
        .group_by(col(Member.collective_id))
    )
    rows = (await session.execute(statement)).all()
    return {event_id: RegistrationCounts(attending, waiting) for event_id, attending, waiting in rows}
