"""What a check-in decides by, read in one round trip under the event's lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, exists, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Member, Order, now
from models.enums import OrderStatus, OrderType
from services.collectives.event_capacity import REGISTRATION_ROLES, count_columns
from services.round_trips import effects
from services.round_trips.entities import attach_row
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import new_record, split_records
from services.volunteering import vouched_hours

_EVENT_ID, _USER_ID = bindparam("event_id", type_=Uuid), bindparam("user_id", type_=Uuid)
_IS_REGISTRATION = (
    col(Member.collective_id) == _EVENT_ID,
    col(Member.role).in_(REGISTRATION_ROLES),
    col(Member.until).is_(None),
)
_ENDED = (
    exists()
    .where(col(Order.to_id) == _USER_ID)
    .where(col(Order.status) == OrderStatus.PENDING, col(Order.type) == OrderType.HOURS)
    .where(col(Attendance.order_id) == col(Order.id), col(Attendance.checked_out_at).is_(None))
    .where(col(Attendance.event_id) == col(Collective.id))
    .where(col(Collective.ends_at) <= bindparam("at", type_=inspect(Collective).local_table.c.ends_at.type))
)
_STATEMENTS = [
    compile_statement(statement)
    for statement in (
        select(*inspect(Collective).local_table.c)
        .where(col(Collective.id) == _EVENT_ID)
        .with_for_update(key_share=True),
        select(*inspect(Attendance).local_table.c).where(
            col(Attendance.event_id) == _EVENT_ID, col(Attendance.user_id) == _USER_ID
        ),
        select(*inspect(Member).local_table.c).where(*_IS_REGISTRATION, col(Member.member_id) == _USER_ID),
        select(*count_columns()).where(*_IS_REGISTRATION),
        select(*inspect(Collective).local_table.c).where(
            col(Collective.id)
            == select(col(Collective.parent_id)).where(col(Collective.id) == _EVENT_ID).scalar_subquery()
        ),
        select(_ENDED),
    )
]
"""The event, which the first of them locks; then what holds as long as it is locked."""
_DECISIVE = ("parent_id", "starts_at", "ends_at", "credit_policy", "name")
"""Columns of an event that its orders of hours are made of."""


@dataclass(frozen=True)
class CheckInFacts:
    """The locked event, and what is known of the user there."""

    event: Collective
    nonprofit: Collective
    attendance: Attendance | None
    registration: Member | None
    attending: int
    has_ended_check_ins: bool
    """True if the user was not checked out of an event that has ended."""
    limits: vouched_hours.Limits
    """Limits of the new hours."""


async def load_facts(
    session: AsyncSession, *, event: Collective, user: Collective, order: Order
) -> CheckInFacts:
    """Lock an event, and load what a check-in of a user decides by; `order` is what it would create.

    `order` may be of an event that somebody changes meanwhile: then its limits are those of other times, and
    the caller compares `is_same`. Locks: the event.
    """
    values = {"event_id": event.id, "user_id": user.id, "at": now()}
    calls = [Call(statement, values) for statement in _STATEMENTS]
    events, attendances, members, counts, parents, ended, limits = await effects.fetch(
        session, *calls, vouched_hours.call_for_limits(order)
    )
    return CheckInFacts(
        event=split_records((Collective,), events[0])[0],
        nonprofit=split_records((Collective,), parents[0])[0],
        attendance=split_records((Attendance,), attendances[0])[0] if attendances else None,
        registration=_find_registration(session, members),
        attending=counts[0][0],
        has_ended_check_ins=ended[0][0],
        limits=vouched_hours.Limits(*limits[0]),
    )


def _find_registration(session: AsyncSession, rows: Sequence[Sequence[Any]]) -> Member | None:
    return attach_row(session, Member, rows[0]) if rows else None


def is_same(before: Collective, after: Collective) -> bool:
    """True if an event makes the same orders of hours as before."""
    return all(getattr(before, name) == getattr(after, name) for name in _DECISIVE)


def to_attendance(event_id: UUID, user_id: UUID, *, order_id: UUID, by_id: UUID) -> Attendance:
    """Build the attendance of a user who is checked in now."""
    return new_record(
        Attendance,
        event_id=event_id,
        user_id=user_id,
        order_id=order_id,
        checked_in_by_id=by_id,
        checked_in_at=now(),
    )
