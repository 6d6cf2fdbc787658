"""Exports a nonprofit's approved hours as CSV, in openCurrents' eleven columns."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Credential, Order, OrderAction
from models.enums import OrderActionType, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import spreadsheet_cells
from services.core.errors import Invalid
from services.core.money import Money

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
NO_RECORDS = "No records found for the selected dates"
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(9000, 1, 1)
"""Bounds of the period; no zone moves them out of the calendar."""


async def require_exportable(session: AsyncSession, actor: Actor, *, nonprofit: CollectiveKey) -> Collective:
    """Require that the actor may read a nonprofit's hours, and return the nonprofit.

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

    Days are those of the nonprofit's time zone. Rows are streamed from the database, so that memory does not
    grow with their number.

    Raises:
        Invalid: the last day is before the first, or one is outside the bounds.
    """
    for name, day in (("from", first_day), ("until", last_day)):
        if not FIRST_DAY <= day <= LAST_DAY:
            raise Invalid(f"Give a day from {FIRST_DAY} to {LAST_DAY}.", field=name)
    if last_day < first_day:
        raise Invalid("The last day must not be before the first.", field="until")
    zone = ZoneInfo(nonprofit.timezone or "UTC")
    yield _format_line(COLUMNS)
    number = 0
    statement = _query_approved_hours(nonprofit, first_day, last_day, zone)
    rows = await session.stream(statement.execution_options(yield_per=500))
    async for row in rows:
        number += 1
        yield _format_line([str(number), *_format_cells(row, zone)])
    if not number:
        yield _format_line([NO_RECORDS])


def _query_approved_hours(
    nonprofit: Collective, first_day: date, last_day: date, zone: ZoneInfo
) -> Select[Any]:
    volunteer, event, admin = aliased(Collective), aliased(Collective), aliased(Collective)
    begin = datetime.combine(first_day, time(), zone).astimezone(UTC)
    end = datetime.combine(last_day + timedelta(days=1), time(), zone).astimezone(UTC)
    statement: Select[Any] = (
        select(  # type: ignore[call-overload]  # SQLModel's columns
            Order, volunteer.name, Credential.email, event.name, event.location, admin.name
        )
        .join(volunteer, col(Order.to_id) == volunteer.id)
        .outerjoin(Credential, col(Credential.user_id) == volunteer.id)
        .outerjoin(event, col(Order.event_id) == event.id)
        .outerjoin(
            OrderAction,
            (col(OrderAction.order_id) == Order.id) & (col(OrderAction.type) == OrderActionType.APPROVE),
        )
        .outerjoin(admin, col(OrderAction.actor_id) == admin.id)
        .where(
            col(Order.from_id) == nonprofit.id,
            col(Order.type) == OrderType.HOURS,
            col(Order.status) == OrderStatus.PAID,
            col(Order.starts_at) >= begin,
            col(Order.starts_at) < end,
        )
        .order_by(col(Order.starts_at), col(Order.id))
    )
    return statement


def _format_cells(row: Any, zone: ZoneInfo) -> list[str]:
    order, name, email, event, location, admin = row
    first, _, last = name.rpartition(" ")
    starts_at = order.starts_at.astimezone(zone)
    return [
        "Event" if order.event_id else "Manual",
        order.description or event or "",
        location or "",
        admin or "",
        first or last,
        last if first else "",
        email or "",
        f"{starts_at:%Y-%m-%d}",
        f"{starts_at:%H:%M}",
        str(Money(order.approved_amount or order.amount, order.currency).value),
    ]


def _format_line(cells: Any) -> str:
    """Format a line of CSV; cells that a spreadsheet would run as formulas are marked as text."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([spreadsheet_cells.as_text(cell) for cell in cells])
    return buffer.getvalue()
