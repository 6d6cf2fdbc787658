"""Quotes redemptions within their limits; dollars in cents, currents in thousandths."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, ScalarSelect, Select, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Hold, LedgerAccount, Offer, Order, PlatformPolicy, Redemption
from models.enums import LedgerAccountKind, OrderType, RedemptionCap
from services.core.errors import AmountTooSmall, InsufficientFunds, LimitExceeded
from services.core.money import apply_bps, convert, convert_back
from services.ledger.transaction_amounts import CURRENTS
from services.offers import offers
from services.round_trips.pipelines import Call, compile_statement

DOLLARS = "USD"
WEEK = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class RedemptionQuote:
    """The currents and dollars of a price in minor units, and the limits that reduced them."""

    currents_minor: int
    gross_minor: int
    fee_minor: int
    caps: tuple[RedemptionCap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Currents that a user can still spend; the last two are None except for master offers."""

    available_minor: int
    week_left_minor: int | None = None
    own_minor: int | None = None
    """Of the available currents, those not received from others within seven days."""


def quote(
    price_minor: int, *, percent: int, policy: PlatformPolicy, limits: Limits, field: str
) -> RedemptionQuote:
    """Quote `percent` of a price in cents under a policy, within the limits.

    Each amount is rounded once, half away from zero. If a limit reduces the currents, the dollars are
    computed from them. `field` names the input field of the price.

    Raises:
        AmountTooSmall: the result is less than one minor unit of currents or dollars.
        LimitExceeded: nothing is left of the weekly limit, or all currents were received lately.
        InsufficientFunds: no currents are available.
    """
    rate = policy.usd_per_current
    gross_minor = apply_bps(price_minor, percent * 100)
    currents_minor = convert_back(gross_minor, rate, source=CURRENTS, target=DOLLARS)
    if currents_minor < 1:
        raise AmountTooSmall(
            "The price is worth less than 0.001 currents. Enter a higher price.", field=field
        )
    if limits.week_left_minor is not None and limits.week_left_minor < 1:
        raise LimitExceeded("You have reached the limit for master offers within seven days.", field="offer")
    if limits.available_minor < 1:
        raise InsufficientFunds("You have no currents available.", field=field)
    if limits.own_minor is not None and limits.own_minor < 1:
        raise LimitExceeded(
            "You received your currents within the last seven days. Master offers do not take them yet.",
            field="offer",
        )
    limit_minor = {RedemptionCap.BALANCE: limits.available_minor}
    if limits.own_minor is not None:
        limit_minor[RedemptionCap.RECEIVED_LATELY] = limits.own_minor
    if limits.week_left_minor is not None:
        limit_minor[RedemptionCap.WEEKLY_LIMIT] = limits.week_left_minor
    caps = tuple(
        cap
        for cap in RedemptionCap
        if limit_minor.get(cap, currents_minor) < currents_minor
        and (cap is not RedemptionCap.RECEIVED_LATELY or limits.own_minor != limits.available_minor)
    )
    if caps:
        currents_minor = min(limit_minor.values())
        gross_minor = convert(currents_minor, rate, source=CURRENTS, target=DOLLARS)
    if gross_minor < 1:
        raise AmountTooSmall("The currents are worth less than a cent. Enter a higher price.", field=field)
    return RedemptionQuote(
        currents_minor=currents_minor,
        gross_minor=gross_minor,
        fee_minor=apply_bps(gross_minor, policy.redemption_fee_bps),
        caps=caps,
    )


def _available_currents(platform_id: Any, user_id: Any) -> ScalarSelect[Any]:
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


def _received_lately(platform_id: Any, user_id: Any, since: Any, *conditions: Any) -> ScalarSelect[Any]:
    """Build the currents that a user received from others since a time; see the SQL function."""
    return (
        select(func.currents_received(col(LedgerAccount.book_id), col(LedgerAccount.id), since))
        .where(
            *conditions,
            col(LedgerAccount.book_id) == platform_id,
            col(LedgerAccount.owner_id) == user_id,
            col(LedgerAccount.currency) == CURRENTS,
            col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        )
        .scalar_subquery()
    )


def _counts_towards_week(user_id: Any) -> list[ColumnElement[bool]]:
    """Return the conditions of a user's redemptions that count towards the weekly limit."""
    return [
        col(Order.from_id) == user_id,
        col(Order.type) == OrderType.REDEMPTION,
        col(Redemption.is_master).is_(True),
        col(Order.status).not_in(offers.UNCOUNTED_STATUSES),
    ]


def _select_figures() -> Select[Any]:
    """Select what limits a redemption that is not stored yet; its parameters are those of `figures_call`.

    What limits only other offers is not read: an offer without a limit may have any number of redemptions.
    """
    user_id, platform_id = bindparam("user_id", type_=Uuid), bindparam("platform_id", type_=Uuid)
    at = bindparam("at", type_=DateTime(timezone=True))
    offer_id = bindparam("offer_id", type_=Uuid)
    is_master = select(col(Offer.is_master)).where(col(Offer.id) == offer_id).scalar_subquery()
    amount = func.coalesce(col(Order.approved_amount), col(Order.amount))
    spent_this_week = (
        select(func.coalesce(func.sum(amount), 0))
        .select_from(Order)
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(is_master, *_counts_towards_week(user_id), col(Order.created_at) > at - WEEK)
        .scalar_subquery()
    )
    redeemed_this_month = (
        select(func.count())
        .select_from(Order)
        .join(Offer, col(Offer.id) == Order.offer_id)
        .join(Collective, col(Collective.id) == Offer.business_id)
        .where(
            col(Offer.monthly_limit).is_not(None),
            col(Order.offer_id) == offer_id,
            col(Order.created_at) >= offers.month_start(Collective, at),
            col(Order.created_at) < offers.month_start(Collective, at, months_later=1),
            col(Order.status).not_in(offers.UNCOUNTED_STATUSES),
        )
        .scalar_subquery()
    )
    return select(
        _available_currents(platform_id, user_id),
        spent_this_week,
        redeemed_this_month,
        _received_lately(platform_id, user_id, at - WEEK, is_master),
    )


_FIGURES = compile_statement(_select_figures())


def figures_call(*, offer_id: UUID, user_id: UUID, platform_id: UUID, at: datetime) -> Call:
    """Build the call that reads what `limits_of` takes, under the caller's locks."""
    return Call(_FIGURES, {"offer_id": offer_id, "user_id": user_id, "platform_id": platform_id, "at": at})


def limits_of(figures: Sequence[Any], *, offer: Offer, policy: PlatformPolicy) -> Limits:
    """Return the limits of a redemption that is not stored yet.

    Raises:
        LimitExceeded: the offer's limit for the calendar month, in the business's time zone, is reached.
    """
    available_minor, spent_minor, redemptions, received_minor = (int(figure or 0) for figure in figures)
    if offer.monthly_limit is not None and redemptions >= offer.monthly_limit:
        raise LimitExceeded("This offer has reached its limit for this month.", field="offer")
    if not offer.is_master:
        return Limits(available_minor=available_minor)
    return Limits(
        available_minor=available_minor,
        week_left_minor=policy.master_weekly_limit_minor - spent_minor,
        own_minor=available_minor - received_minor,
    )


async def limits_when_pending(
    session: AsyncSession, order: Order, *, platform_id: UUID, is_master: bool, policy: PlatformPolicy
) -> Limits:
    """Load the limits of a pending order besides all others; its own hold is available to it.

    The weekly limit holds in any seven days that include the order. Two statements, or one without a weekly
    limit, under the caller's locks.
    """
    hold = (
        select(col(Hold.amount))
        .where(col(Hold.order_id) == order.id, col(Hold.released_at).is_(None))
        .scalar_subquery()
    )
    received = _received_lately(platform_id, order.from_id, order.created_at - WEEK)
    free_minor, held_minor, received_minor = (
        await session.execute(select(_available_currents(platform_id, order.from_id), hold, received))
    ).one()
    available_minor = int(free_minor or 0) + int(held_minor or 0)
    if not is_master:
        return Limits(available_minor=available_minor)
    statement = (
        select(col(Order.created_at), func.coalesce(col(Order.approved_amount), col(Order.amount)))
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(
            *_counts_towards_week(order.from_id),
            col(Order.id) != order.id,
            col(Order.created_at) > order.created_at - WEEK,
            col(Order.created_at) < order.created_at + WEEK,
        )
    )
    others = [(at, int(amount_minor)) for at, amount_minor in (await session.execute(statement)).all()]
    ends = [order.created_at, *(at for at, _ in others if at > order.created_at)]
    spent_minor = max(
        sum(amount_minor for at, amount_minor in others if end - WEEK < at <= end) for end in ends
    )
    return Limits(
        available_minor=available_minor,
        week_left_minor=policy.master_weekly_limit_minor - spent_minor,
        own_minor=available_minor - int(received_minor or 0),
    )
