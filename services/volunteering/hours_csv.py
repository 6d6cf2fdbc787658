"""Exports a nonprofit's or a community's approved hours as CSV, in openCurrents' eleven columns."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Credential, Member, Order, OrderAction
from models.enums import CollectiveType, MemberRole, OrderActionType, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid
from services.core.money import Money
from services.core.spreadsheet_cells import BYTE_ORDER_MARK, Cell, format_line

COLUMNS = (
    "Entry",
    "Volunteer type",
    "Description",
    "Location",
    "Admin",
    "First",
    "Last",
    "Email",
    "Date",
    "Time",
    "Duration",
)
NONPROFIT_COLUMN = "Nonprofit"
"""A last column of a community's file, whose hours are those of several nonprofits."""
_OWN_ROLES = (MemberRole.ADMIN, MemberRole.MEMBER, MemberRole.VOLUNTEER)
"""Roles of a community's people; donors and followers need not have anything to do with its work."""
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(9000, 1, 1)
"""Bounds of the period; no zone moves them out of the calendar."""


async def require_exportable(session: AsyncSession, actor: Actor, *, nonprofit: CollectiveKey) -> Collective:
    """Require that the actor may read a nonprofit's or a community's hours, and return it.

    Raises:
        NotFound: there is no such collective, or the actor may not see it.
        Unauthenticated, Forbidden: the actor may not read its hours.
    """
    row = require_collective(await resolve_one(session, actor, nonprofit, name="nonprofit"))
    require(actor, Action.READ_HOURS, Subject(collective=row))
    return row


async def stream_lines(
    session: AsyncSession, *, nonprofit: Collective, first_day: date, last_day: date
) -> AsyncIterator[str]:
    """Yield the file's lines: hours that began from `first_day` to `last_day`, inclusive.

    Days are those of the nonprofit's time zone. A community issues no currents: its file has the hours that
    its people volunteered anywhere, without addresses, which the nonprofits alone see. Rows are streamed from
    the database, so that memory does not grow with their number.

    Raises:
        Invalid: the last day is before the first, or one is outside the bounds.
    """
    for name, day in (("from", first_day), ("until", last_day)):
        if not FIRST_DAY <= day <= LAST_DAY:
            raise Invalid(f"Give a day from {FIRST_DAY} to {LAST_DAY}.", field=name)
    if last_day < first_day:
        raise Invalid("The last day must not be before the first.", field="until")
    zone = ZoneInfo(nonprofit.timezone or "UTC")
    is_community = nonprofit.type == CollectiveType.COMMUNITY
    columns = (*COLUMNS, NONPROFIT_COLUMN) if is_community else COLUMNS
    yield BYTE_ORDER_MARK + format_line(columns)
    number = 0
    statement = _query_approved_hours(nonprofit, first_day, last_day, zone)
    rows = await session.stream(statement.execution_options(yield_per=500))
    async for row in rows:
        number += 1
        cells = dict(zip((*COLUMNS[1:], NONPROFIT_COLUMN), _format_cells(row, zone), strict=True))
        if is_community:
            cells["Email"] = None
        yield format_line([number, *(cells[name] for name in columns[1:])])


def _query_approved_hours(
    nonprofit: Collective, first_day: date, last_day: date, zone: ZoneInfo
) -> Select[Any]:
    volunteer, event, admin, issuer = (aliased(Collective) for _ in range(4))
    begin = datetime.combine(first_day, time(), zone).astimezone(UTC)
    end = datetime.combine(last_day + timedelta(days=1), time(), zone).astimezone(UTC)
    columns: tuple[Any, ...] = (Order, volunteer.name, Credential.email)
    columns += (event.name, event.location, admin.name, issuer.name)
    statement: Select[Any] = (
        select(*columns)
        .join(volunteer, col(Order.to_id) == volunteer.id)
        .join(issuer, col(Order.from_id) == issuer.id)
        .outerjoin(Credential, col(Credential.user_id) == volunteer.id)
        .outerjoin(event, col(Order.event_id) == event.id)
        .outerjoin(
            OrderAction,
            (col(OrderAction.order_id) == Order.id) & (col(OrderAction.type) == OrderActionType.APPROVE),
        )
        .outerjoin(admin, col(OrderAction.actor_id) == admin.id)
        .where(
            _is_hour_of(nonprofit),
            col(Order.type) == OrderType.HOURS,
            col(Order.status) == OrderStatus.PAID,
            col(Order.starts_at) >= begin,
            col(Order.starts_at) < end,
        )
        .order_by(col(Order.starts_at), col(Order.id))
    )
    return statement


def _is_hour_of(collective: Collective) -> ColumnElement[bool]:
    """True in SQL for hours of a nonprofit's own, or of people who are in a community by their own will."""
    if collective.type != CollectiveType.COMMUNITY:
        return col(Order.from_id) == collective.id
    people = select(col(Member.member_id)).where(
        col(Member.collective_id) == collective.id,
        col(Member.role).in_(_OWN_ROLES),
        col(Member.named_by).is_(None),
        col(Member.until).is_(None),
    )
    return col(Order.to_id).in_(people)


def _format_cells(row: Any, zone: ZoneInfo) -> list[Cell]:
    order, name, email, event, location, admin, issuer = row
    first, _, last = name.rpartition(" ")
    starts_at = order.starts_at.astimezone(zone)
    return [
        "Event" if order.event_id else "Manual",
        order.description or event,
        location,
        admin,
        first or last,
        last if first else None,
        email,
        f"{starts_at:%Y-%m-%d}",
        f"{starts_at:%H:%M}",
        Money(order.approved_amount or order.amount, order.currency).value,
        issuer,
    ]
