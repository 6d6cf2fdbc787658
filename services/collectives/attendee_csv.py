"""The list of an event's attendees as CSV, for the door."""

from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Credential, Member
from models.enums import MemberRole, NamedBy
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.core.spreadsheet_cells import BYTE_ORDER_MARK, Cell, format_line

COLUMNS = ("Name", "Email", "Place", "Registered", "Checked in")
_PLACES = {MemberRole.ATTENDEE: "Attendee", MemberRole.WAITING: "Waiting list"}


async def require_readable(session: AsyncSession, actor: Actor, *, event: CollectiveKey) -> Collective:
    """Require that the actor may read the list of an event's attendees, and return the event.

    Raises:
        NotFound: there is no such collective, or the actor may not see it.
        Invalid: it is no event.
        Unauthenticated, Forbidden: the actor is not an ADMIN of the event or of its parent.
    """
    row = require_collective(await resolve_one(session, actor, event, name="event"))
    event_capacity.require_event(row)
    require(actor, Action.READ_ATTENDEES, Subject(collective=row))
    return row


async def stream_lines(session: AsyncSession, *, event: Collective) -> AsyncIterator[str]:
    """Yield the file's lines: attendees, then those who wait, each in the order of registration.

    Nobody learns whose an address is: who was named by one and has not agreed is shown by it alone, and who
    was named as a user by the name alone. Times are in the event's time zone.
    """
    zone = ZoneInfo(event.timezone or "UTC")
    person = aliased(Collective)
    columns: tuple[Any, ...] = (Member, person.name, Credential.email, Attendance.checked_in_at)
    statement: Any = (
        select(*columns)
        .join(person, col(Member.member_id) == person.id)
        .outerjoin(Credential, col(Credential.user_id) == person.id)
        .outerjoin(
            Attendance,
            (col(Attendance.event_id) == Member.collective_id)
            & (col(Attendance.user_id) == Member.member_id),
        )
        .where(
            col(Member.collective_id) == event.id,
            col(Member.role).in_(event_capacity.REGISTRATION_ROLES),
            col(Member.until).is_(None),
        )
        .order_by(col(Member.role), col(Member.since), col(Member.id))
    )
    yield BYTE_ORDER_MARK + format_line(COLUMNS)
    rows = await session.stream(statement.execution_options(yield_per=500))
    async for row in rows:
        yield format_line(_to_cells(row, zone))


def _to_cells(row: Any, zone: ZoneInfo) -> list[Cell]:
    member, name, email, checked_in_at = row
    times = (member.since, checked_in_at)
    return [
        None if member.named_by == NamedBy.ADDRESS else name,
        None if member.named_by == NamedBy.REFERENCE else email,
        _PLACES[MemberRole(member.role)],
        *(f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else None for at in times),
    ]
