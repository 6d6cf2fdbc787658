"""Approved hours of a nonprofit as CSV, in openCurrents' eleven columns."""

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
from services.access.collective_refs import Ref, named, resolve_one
from services.access.permissions import Action, Subject, require
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
NOTHING = "No records found for the selected dates"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def nonprofit_to_export(session: AsyncSession, actor: Actor, *, nonprofit: Ref) -> Collective:
    """Return the nonprofit, if the actor may read its hours.

    Raises:
        NotFound, Unauthenticated, Forbidden: as for any reading of its hours.
    """
    row = named(await resolve_one(session, actor, nonprofit, name="nonprofit"))
    require(actor, Action.READ_HOURS, Subject(collective=row))
    return row


async def lines(
    session: AsyncSession, *, nonprofit: Collective, first_day: date, last_day: date
) -> AsyncIterator[str]:
    """Yield the lines of the file: hours that began on these days, both included, in the nonprofit's zone.

    Rows are read from the server as they are sent: memory does not grow with their number.

    Raises:
        Invalid: the last day lies before the first.
    """
    if last_day < first_day:
        raise Invalid("The last day lies before the first", path=["until"])
    zone = ZoneInfo(nonprofit.timezone or "UTC")
    yield _line(COLUMNS)
    number = 0
    statement = _statement(nonprofit, first_day, last_day, zone)
    rows = await session.stream(statement.execution_options(yield_per=500))
    async for row in rows:
        number += 1
        yield _line([str(number), *_cells(row, zone)])
    if not number:
        yield _line([NOTHING])


def _statement(nonprofit: Collective, first_day: date, last_day: date, zone: ZoneInfo) -> Select[Any]:
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


def _cells(row: Any, zone: ZoneInfo) -> list[str]:
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


def _line(cells: Any) -> str:
    """Return a line of CSV; a cell that a spreadsheet would run as a formula is quoted as text."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(
        [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
    )
    return buffer.getvalue()
