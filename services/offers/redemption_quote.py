"""What a redemption is worth, and what limits it. Dollars in cents, currents in thousandths."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Hold, LedgerAccount, Offer, Order, PlatformPolicy, Redemption
from models.enums import LedgerAccountKind, OrderType, RedemptionCap
from services.core.errors import AmountTooSmall, InsufficientFunds, LimitExceeded
from services.core.money import convert, convert_back, share
from services.ledger.transaction_amounts import CURRENTS
from services.offers import offers

DOLLARS = "USD"
WEEK = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a price comes to, in minor units, and the caps that made it less."""

    currents: int
    gross: int
    fee: int
    caps: tuple[RedemptionCap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the user can still give, in minor units of CUR; `of_week` None where the week does not count."""

    available: int
    of_week: int | None = None


def computed(
    price_minor: int, *, percent: int, policy: PlatformPolicy, limits: Limits, path: Sequence[str]
) -> Worth:
    """Return what `percent` of a price in cents comes to, by a policy and within the limits.

    Each figure is rounded once, half away from zero. Where a limit makes the currents fewer, the dollars
    follow from them. `path` names the input field of the price.

    Raises:
        AmountTooSmall: it is less than one minor unit of either.
        LimitExceeded: the week has nothing left. InsufficientFunds: there are no currents.
    """
    rate = policy.usd_per_current
    gross = share(price_minor, percent * 100)
    currents = convert_back(gross, rate, source=CURRENTS, target=DOLLARS)
    if currents < 1:
        raise AmountTooSmall("The price is worth less than 0.001 currents", path=path)
    if limits.of_week is not None and limits.of_week < 1:
        raise LimitExceeded("Master offers give no more within seven days", path=["input", "offer"])
    if limits.available < 1:
        raise InsufficientFunds("There are no currents available", path=path)
    most = {RedemptionCap.BALANCE: limits.available}
    if limits.of_week is not None:
        most[RedemptionCap.WEEKLY_LIMIT] = limits.of_week
    caps = tuple(cap for cap, amount in most.items() if amount < currents)
    if caps:
        currents = min(most.values())
        gross = convert(currents, rate, source=CURRENTS, target=DOLLARS)
    if gross < 1:
        raise AmountTooSmall("The currents are worth less than a cent", path=path)
    return Worth(currents=currents, gross=gross, fee=share(gross, policy.redemption_fee_bps), caps=caps)


def _available(platform_id: UUID, user_id: UUID) -> ScalarSelect[Any]:
    return (
        select(col(LedgerAccount.posted) - col(LedgerAccount.held))
        .where(
            col(LedgerAccount.book_id) == platform_id,
            col(LedgerAccount.owner_id) == user_id,
            col(LedgerAccount.currency) == CURRENTS,
            col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        )
        .scalar_subquery()
    )


def _of_master_offers(user_id: UUID) -> list[ColumnElement[bool]]:
    """Return the conditions of a user's redemptions that count towards the week's limit."""
    return [
        col(Order.from_id) == user_id,
        col(Order.type) == OrderType.REDEMPTION,
        col(Redemption.is_master).is_(True),
        col(Order.status).not_in(offers.NOT_COUNTED),
    ]


async def limits_now(
    session: AsyncSession, order: Order, *, offer: Offer, policy: PlatformPolicy, platform_id: UUID
) -> Limits:
    """Read what limits an order that is not written yet; one statement, under the caller's locks.

    Raises:
        LimitExceeded: the offer's limit of the calendar month, in the business's time zone, is reached.
    """
    amount = func.coalesce(col(Order.approved_amount), col(Order.amount))
    of_week = (
        select(func.coalesce(func.sum(amount), 0))
        .select_from(Order)
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(*_of_master_offers(order.from_id), col(Order.created_at) > order.created_at - WEEK)
        .scalar_subquery()
    )
    of_month = (
        select(func.count())
        .select_from(Order)
        .join(Collective, col(Collective.id) == offer.business_id)
        .where(
            col(Order.offer_id) == offer.id,
            col(Order.created_at) >= offers.month_of(Collective, order.created_at),
            col(Order.status).not_in(offers.NOT_COUNTED),
        )
        .scalar_subquery()
    )
    row = (await session.execute(select(_available(platform_id, order.from_id), of_week, of_month))).one()
    available, spent, redeemed = (int(figure or 0) for figure in row)
    if offer.monthly_limit is not None and redeemed >= offer.monthly_limit:
        raise LimitExceeded("The offer's limit of this month is reached", path=["input", "offer"])
    rest = policy.master_weekly_limit_minor - spent if offer.is_master else None
    return Limits(available=available, of_week=rest)


async def limits_of(
    session: AsyncSession, order: Order, *, platform_id: UUID, is_master: bool, policy: PlatformPolicy
) -> Limits:
    """Read what limits an order that waits, beside all others: its own hold is there for it.

    The week is any seven days that the order lies in. Two statements, one without a week; under the caller's
    locks.
    """
    hold = (
        select(col(Hold.amount))
        .where(col(Hold.order_id) == order.id, col(Hold.released_at).is_(None))
        .scalar_subquery()
    )
    free, held = (await session.execute(select(_available(platform_id, order.from_id), hold))).one()
    available = int(free or 0) + int(held or 0)
    if not is_master:
        return Limits(available=available)
    statement = (
        select(col(Order.created_at), func.coalesce(col(Order.approved_amount), col(Order.amount)))
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(
            *_of_master_offers(order.from_id),
            col(Order.id) != order.id,
            col(Order.created_at) > order.created_at - WEEK,
            col(Order.created_at) < order.created_at + WEEK,
        )
    )
    others = [(at, int(amount)) for at, amount in (await session.execute(statement)).all()]
    ends = [order.created_at, *(at for at, _ in others if at > order.created_at)]
    most = max(sum(amount for at, amount in others if end - WEEK < at <= end) for end in ends)
    return Limits(available=available, of_week=policy.master_weekly_limit_minor - most)
