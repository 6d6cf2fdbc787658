"""What an ADMIN of a nonprofit needs to know of its hours: what waits, week by week, and what came of it."""

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
from services.access.permissions import Action, Subject, permits
from services.core.money import Money
from services.ledger.transaction_amounts import CURRENTS

MAX_WEEKS = 100


class HoursBy(StrEnum):
    """What the hours of a report are summed by."""

    VOLUNTEER = "VOLUNTEER"
    """Who gave them."""
    ADMIN = "ADMIN"
    """Who approved them, or is asked to."""
    EVENT = "EVENT"
    """The event they belong to."""
    WEEK = "WEEK"
    """The week they began in, from Monday, in the nonprofit's time zone."""
    MONTH = "MONTH"
    """The month they began in, in the nonprofit's time zone."""


@dataclass(frozen=True)
class WaitingHours:
    """A volunteer's hours of one week that wait for approval."""

    week: date
    volunteer_id: UUID
    order_ids: list[UUID]
    minor: int

    @property
    def amount(self) -> Money:
        """What they ask for."""
        return Money(self.minor, CURRENTS)


@dataclass(frozen=True)
class HoursSum:
    """Hours of one volunteer, admin, event or period."""

    collective_id: UUID | None
    period: date | None
    requested_minor: int
    requested_count: int
    approved_minor: int
    approved_count: int

    @property
    def requested(self) -> Money:
        """What waits for approval."""
        return Money(self.requested_minor, CURRENTS)

    @property
    def approved(self) -> Money:
        """What was issued for them."""
        return Money(self.approved_minor, CURRENTS)


def may_read(actor: Actor, nonprofit: Collective) -> bool:
    """Whether the actor reads a nonprofit's hours."""
    return permits(actor, Action.READ_HOURS, Subject(collective=nonprofit))


def _local(column: Any, nonprofit: Collective) -> Any:
    return func.timezone(nonprofit.timezone or "UTC", column)


async def waiting(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    first: int,
    addressed_to_id: UUID | None = None,
) -> list[WaitingHours]:
    """Return the hours that wait, a row a week and volunteer, the oldest week first.

    One statement, over the open orders alone: what is past costs nothing.
    """
    if not may_read(actor, nonprofit):
        return []
    week = cast(func.date_trunc("week", _local(col(Order.starts_at), nonprofit)), Date)
    ids = func.array_agg(aggregate_order_by(col(Order.id), col(Order.starts_at), col(Order.id)))
    statement: Any = (
        select(
            week.label("week"),
            col(Order.to_id),
            ids.label("ids"),
            func.sum(col(Order.amount)).label("minor"),
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
    return [WaitingHours(row.week, row.to_id, list(row.ids), int(row.minor)) for row in rows]


async def sums(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    by: HoursBy,
    starts_from: datetime | None = None,
    starts_until: datetime | None = None,
) -> list[HoursSum]:
    """Return hours requested and approved of those that began in a period, the most approved first.

    One statement. What was declined, withdrawn or given back does not count.
    """
    if not may_read(actor, nonprofit):
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
    period = cast(func.date_trunc(unit, _local(col(Order.starts_at), nonprofit)), Date) if unit else null()
    each = (
        select(
            owners.get(by, null()).label("owner_id"),
            period.label("period"),
            col(Order.status).label("status"),
            func.coalesce(col(Order.approved_amount), col(Order.amount)).label("minor"),
        )
        .where(
            col(Order.from_id) == nonprofit.id,
            col(Order.type) == OrderType.HOURS,
            col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
            *_within(starts_from, starts_until),
        )
        .subquery("each")
    )
    requested, approved = each.c.status == OrderStatus.PENDING, each.c.status == OrderStatus.PAID
    statement = (
        select(
            each.c.owner_id,
            each.c.period,
            func.coalesce(func.sum(case((requested, each.c.minor))), 0),
            func.count(case((requested, 1))),
            func.coalesce(func.sum(case((approved, each.c.minor))), 0).label("approved"),
            func.count(case((approved, 1))),
        )
        .group_by(each.c.owner_id, each.c.period)
        .order_by(
            each.c.period, func.coalesce(func.sum(case((approved, each.c.minor))), 0).desc(), each.c.owner_id
        )
    )
    rows = (await session.execute(statement)).all()
    return [HoursSum(row[0], row[1], int(row[2]), row[3], int(row[4]), row[5]) for row in rows]


def _within(starts_from: datetime | None, starts_until: datetime | None) -> Sequence[Any]:
    conditions = []
    if starts_from:
        conditions.append(col(Order.starts_at) >= starts_from)
    if starts_until:
        conditions.append(col(Order.starts_at) < starts_until)
    return [and_(*conditions)] if conditions else []
