"""Reports of a nonprofit's hours: those waiting for approval by week, and sums."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Date,
    Integer,
    Select,
    Uuid,
    any_,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Order, OrderAction
from models.enums import OrderActionType, OrderStatus, OrderType
from services.access import visibility
from services.access.actor import Actor
from services.core.errors import Invalid
from services.core.pagination import Sort

DEFAULT_WEEKS, MAX_WEEKS = 20, 100


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


@dataclass(frozen=True)
class HoursSum:
    """Sums of hours of one volunteer, admin, event or period."""

    collective_id: UUID | None
    period: date | None
    requested_minor: int
    requested_count: int
    approved_minor: int
    approved_count: int


@dataclass(frozen=True)
class WaitingFilter:
    """Which hours waiting for approval are listed, and how many groups of them."""

    first: int
    addressed_to_id: Any = None

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            Invalid: it is not 1 to 100.
        """
        if not 1 <= self.first <= MAX_WEEKS:
            raise Invalid(f"first must be from 1 to {MAX_WEEKS}.", field="first")


@dataclass(frozen=True)
class HoursFilter:
    """The hours in a report, by the time at which they began, and how they are grouped."""

    by: HoursBy
    starts_from: Any = None
    starts_until: Any = None


_NONPROFIT: Any = aliased(Collective, name="nonprofit")
_PLACE: Any = literal_column("place", Integer)
HOURS_IN_ORDER = Sort("HOURS_IN_ORDER", _PLACE, _PLACE, descending=False)
BY_BEGINNING = Sort("BY_BEGINNING", col(Order.starts_at), col(Order.id), descending=False)


def _select_hours(actor: Actor, owner: Any, *columns: Any) -> Any:
    """Select columns of the hours at the nonprofit `owner`; none unless the actor may read its hours."""
    return (
        select(*columns)
        .join_from(_NONPROFIT, Order, col(Order.from_id) == _NONPROFIT.id)
        .where(
            _NONPROFIT.id == owner,
            visibility.private_fields_are_visible(actor, _NONPROFIT),
            col(Order.type) == OrderType.HOURS,
        )
    )


def _first_day(unit: str) -> Any:
    """Return the first day of the week or month in which hours began, in the nonprofit's time zone."""
    zone = func.coalesce(_NONPROFIT.timezone, literal_column("'UTC'"))
    return cast(func.date_trunc(literal_column(f"'{unit}'"), func.timezone(zone, col(Order.starts_at))), Date)


def select_waiting_hours(actor: Actor, *, where: WaitingFilter, owner: Any) -> tuple[Select[Any]]:
    """Select hours waiting for approval at a nonprofit by week and volunteer, oldest week first.

    Reads only open orders, so that past ones cost nothing.
    """
    week, volunteer = _first_day("week"), col(Order.to_id)
    ids = func.array_agg(aggregate_order_by(col(Order.id), col(Order.starts_at), col(Order.id)))
    addressee = where.addressed_to_id
    groups = (
        _select_hours(
            actor,
            owner,
            week.label("week"),
            volunteer.label("volunteer_id"),
            ids.label("order_ids"),
            cast(func.sum(col(Order.amount)), BigInteger).label("amount_minor"),
            func.row_number().over(order_by=(week, volunteer)).label("place"),
        )
        .where(
            col(Order.status) == OrderStatus.PENDING,
            true() if addressee is None else col(Order.addressed_to_id) == addressee,
        )
        .group_by(week, volunteer)
        .order_by(week, volunteer)
        .limit(literal_column(str(where.first)))
        .subquery("waiting")
    )
    return (select(groups),)


def select_waiting_orders(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the orders of waiting hours, whose ids are `owner`, as far as the actor may see them."""
    del where  # has no conditions
    is_of = col(Order.id) == any_(type_coerce(owner, ARRAY(Uuid)))
    return (select(Order).where(is_of, visibility.order_is_visible(actor)),)


async def list_waiting_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    first: int,
    addressed_to_id: UUID | None = None,
) -> list[WaitingHours]:
    """List hours waiting for approval by week and volunteer, oldest week first; one statement.

    Empty if the actor may not read the nonprofit's hours.

    Raises:
        Invalid: `first` is not 1 to 100.
    """
    where = WaitingFilter(first, addressed_to_id)
    (statement,) = select_waiting_hours(actor, where=where, owner=nonprofit.id)
    rows = await session.execute(statement.order_by(HOURS_IN_ORDER.key))
    return [WaitingHours(*row[:-1]) for row in rows]


_APPROVER = (
    select(col(OrderAction.actor_id))
    .where(col(OrderAction.order_id) == Order.id, col(OrderAction.type) == OrderActionType.APPROVE)
    .order_by(col(OrderAction.at).desc())
    .limit(literal_column("1"))
    .correlate(Order)
    .scalar_subquery()
)
_OWNERS: dict[HoursBy, Any] = {
    HoursBy.VOLUNTEER: col(Order.to_id),
    HoursBy.ADMIN: func.coalesce(_APPROVER, col(Order.addressed_to_id)),
    HoursBy.EVENT: col(Order.event_id),
}


def select_hours_sums(actor: Actor, *, where: HoursFilter, owner: Any) -> tuple[Select[Any]]:
    """Select sums of requested and approved hours of a nonprofit, by group; most approved first.

    Rejected, cancelled, expired and refunded hours do not count.
    """
    is_by_time = where.by in {HoursBy.WEEK, HoursBy.MONTH}
    each = (
        _select_hours(
            actor,
            owner,
            cast(_OWNERS.get(where.by, null()), Uuid).label("collective_id"),
            (_first_day(where.by.value.lower()) if is_by_time else cast(null(), Date)).label("period"),
            col(Order.status).label("status"),
            func.coalesce(col(Order.approved_amount), col(Order.amount)).label("amount_minor"),
        )
        .where(
            col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
            true() if where.starts_from is None else col(Order.starts_at) >= where.starts_from,
            true() if where.starts_until is None else col(Order.starts_at) < where.starts_until,
        )
        .subquery("each")
    )
    requested, approved = each.c.status == OrderStatus.PENDING, each.c.status == OrderStatus.PAID

    def total(condition: Any) -> Any:
        return cast(func.coalesce(func.sum(each.c.amount_minor).filter(condition), 0), BigInteger)

    group = (each.c.collective_id, each.c.period)
    order = (each.c.period, total(approved).desc(), each.c.collective_id)
    sums = (
        select(
            *group,
            total(requested).label("requested_minor"),
            func.count().filter(requested).label("requested_count"),
            total(approved).label("approved_minor"),
            func.count().filter(approved).label("approved_count"),
            func.row_number().over(order_by=order).label("place"),
        )
        .group_by(*group)
        .subquery("sums")
    )
    return (select(sums),)


async def sum_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Collective,
    by: HoursBy,
    starts_from: datetime | None = None,
    starts_until: datetime | None = None,
) -> list[HoursSum]:
    """Sum requested and approved hours that began in a period, by group; one statement.

    Empty if the actor may not read the nonprofit's hours.
    """
    where = HoursFilter(by, starts_from, starts_until)
    (statement,) = select_hours_sums(actor, where=where, owner=nonprofit.id)
    rows = await session.execute(statement.order_by(HOURS_IN_ORDER.key))
    return [HoursSum(*row[:-1]) for row in rows]
