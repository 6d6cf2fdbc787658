"""Reports of a nonprofit's hours: those waiting for approval by week, and sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Date, and_, case, cast, func, literal, null, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, OrderAction
from models.enums import OrderActionType, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted
from services.core.money import Money
from services.ledger.transaction_amounts import CURRENTS

MAX_WEEKS = 100


class HoursBy(StrEnum):
    """Dimension by which a report sums hours."""

    VOLUNTEER = "VOLUNTEER"
    """The person who volunteered."""
    ADMIN = "ADMIN"
    """The admin who approved the hours, or is asked to."""
    EVENT = "EVENT"
    """The event that the hours belong to."""
    WEEK = "WEEK"
    """The week in which the hours began, from Monday, in the nonprofit's time zone."""
    MONTH = "MONTH"
    """The month in which the hours began, in the nonprofit's time zone."""


@dataclass(frozen=True)
class WaitingHours:
    """A volunteer's hours of one week that are waiting for approval."""

    week: date
    volunteer_id: UUID
    order_ids: list[UUID]
    amount_minor: int

    @property
    def amount(self) -> Money:
        """Currents requested."""
        return Money(self.amount_minor, CURRENTS)


@dataclass(frozen=True)
class HoursSum:
    """Sums of hours of one volunteer, admin, event or period."""

    collective_id: UUID | None
    period: date | None
    requested_minor: int
    requested_count: int
    approved_minor: int
    approved_count: int

    @property
    def requested(self) -> Money:
        """Currents waiting for approval."""
        return Money(self.requested_minor, CURRENTS)

    @property
    def approved(self) -> Money:
        """Currents issued."""
        return Money(self.approved_minor, CURRENTS)


def can_read_hours(actor: Actor, nonprofit: Collective) -> bool:
    """True if the actor may read a nonprofit's hours."""
    return is_permitted(actor, Action.READ_HOURS, Subject(collective=nonprofit))


def _in_local_time(column: Any, nonprofit: Collective) -> Any:
    return func.timezone(nonprofit.timezone or "UTC", column)


async def list_waiting_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    first: int,
    addressed_to_id: UUID | None = None,
) -> list[WaitingHours]:
    """List hours waiting for approval by week and volunteer, oldest week first.

    One statement that reads only open orders, so that past ones cost nothing. Empty if the actor may not
    read the nonprofit's hours.
    """
    if not can_read_hours(actor, nonprofit):
        return []
    week = cast(func.date_trunc("week", _in_local_time(col(Order.starts_at), nonprofit)), Date)
    ids = func.array_agg(aggregate_order_by(col(Order.id), col(Order.starts_at), col(Order.id)))
    statement: Any = (
        select(
            week.label("week"),
            col(Order.to_id),
            ids.label("ids"),
            func.sum(col(Order.amount)).label("amount_minor"),
        )
        .where(
            col(Order.from_id) == nonprofit.id,
            col(Order.type) == OrderType.HOURS,
            col(Order.status) == OrderStatus.PENDING,
            col(Order.addressed_to_id) == addressed_to_id if addressed_to_id else literal(value=True),
        )
        .group_by(week, col(Order.to_id))
        .order_by(week, col(Order.to_id))
        .limit(max(1, min(first, MAX_WEEKS)))
    )
    rows = (await session.execute(statement)).all()
    return [WaitingHours(row.week, row.to_id, list(row.ids), int(row.amount_minor)) for row in rows]


async def sum_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    by: HoursBy,
    starts_from: datetime | None = None,
    starts_until: datetime | None = None,
) -> list[HoursSum]:
    """Sum requested and approved hours that began in a period, by group; most approved first.

    One statement. Rejected, cancelled, expired and refunded hours do not count. Empty if the actor may not
    read the nonprofit's hours.
    """
    if not can_read_hours(actor, nonprofit):
        return []
    approver = (
        select(col(OrderAction.actor_id))
        .where(col(OrderAction.order_id) == Order.id, col(OrderAction.type) == OrderActionType.APPROVE)
        .order_by(col(OrderAction.at).desc())
        .limit(1)
        .scalar_subquery()
    )
    owners: dict[HoursBy, Any] = {
        HoursBy.VOLUNTEER: col(Order.to_id),
        HoursBy.ADMIN: func.coalesce(approver, col(Order.addressed_to_id)),
        HoursBy.EVENT: col(Order.event_id),
    }
    unit = by.value.lower() if by in {HoursBy.WEEK, HoursBy.MONTH} else None
    period = (
        cast(func.date_trunc(unit, _in_local_time(col(Order.starts_at), nonprofit)), Date) if unit else null()
    )
    each = (
        select(
            owners.get(by, null()).label("owner_id"),
            period.label("period"),
            col(Order.status).label("status"),
            func.coalesce(col(Order.approved_amount), col(Order.amount)).label("amount_minor"),
        )
        .where(
            col(Order.from_id) == nonprofit.id,
            col(Order.type) == OrderType.HOURS,
            col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
            *_started_within(starts_from, starts_until),
        )
        .subquery("each")
    )
    requested, approved = each.c.status == OrderStatus.PENDING, each.c.status == OrderStatus.PAID
    statement = (
        select(
            each.c.owner_id,
            each.c.period,
            func.coalesce(func.sum(case((requested, each.c.amount_minor))), 0),
            func.count(case((requested, 1))),
            func.coalesce(func.sum(case((approved, each.c.amount_minor))), 0).label("approved"),
            func.count(case((approved, 1))),
        )
        .group_by(each.c.owner_id, each.c.period)
        .order_by(
            each.c.period,
            func.coalesce(func.sum(case((approved, each.c.amount_minor))), 0).desc(),
            each.c.owner_id,
        )
    )
    rows = (await session.execute(statement)).all()
    return [HoursSum(row[0], row[1], int(row[2]), row[3], int(row[4]), row[5]) for row in rows]


def _started_within(starts_from: datetime | None, starts_until: datetime | None) -> Sequence[Any]:
    conditions = []
    if starts_from:
        conditions.append(col(Order.starts_at) >= starts_from)
    if starts_until:
        conditions.append(col(Order.starts_at) < starts_until)
    return [and_(*conditions)] if conditions else []
