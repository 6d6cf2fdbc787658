"""Donations that may repeat: the first one begins a recurring gift."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, RecurringGift, Tier, new_id, now
from models.enums import GiftInterval, GiftStatus, PaymentMethodKind, TierType
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.core.errors import Invalid
from services.core.party import Party
from services.core.time_zones import UTC
from services.ledger.transaction_amounts import CURRENTS
from services.orders import donations
from services.recurring import periods, progress

SOLD_ONCE = (TierType.TICKET, TierType.PRODUCT)
"""Types of tiers without an interval in which nothing repeats."""


async def give(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    interval: GiftInterval | None = None,
    ends_after: date | None = None,
    gift: Mapping[str, Any],
) -> tuple[Order, RecurringGift | None]:
    """Donate as `donations.donate`; with an interval, its own or its tier's, again every month or year.

    `gift` are the further arguments of that.

    Raises:
        Invalid: an interval that is not the tier's, currents, which are given once, or an end that is over.
    """
    begun: list[RecurringGift] = []

    async def begin(order: Order, payee: Party, expires_at: datetime | None) -> donations.Store | None:
        repeats = await _choose_interval(session, order, interval)
        if repeats is None:
            if ends_after is not None:
                raise Invalid("Choose an interval, or leave this out.", field="endsAfter")
            return None
        row = _build(actor, order, payee, repeats, ends_after, expires_at)

        async def store() -> None:
            session.add(row)
            await session.flush()
            progress.bind(order, row)
            begun.append(row)

        return store

    order = await donations.donate(session, actor, order_id=order_id, begin=begin, **gift)
    if not begun:
        return order, None
    (row,) = begun
    if row.status == GiftStatus.PENDING:
        row.next_charge_on = periods.next_day(row.next_charge_on, GiftInterval(row.interval), row.anchor_day)
    else:
        progress.advance(row)
    await session.flush()
    return order, row


async def _choose_interval(
    session: AsyncSession, order: Order, interval: GiftInterval | None
) -> GiftInterval | None:
    """Return how often the gift repeats: as its tier says, else as the giver does."""
    if order.tier_id is None:
        return interval
    tier = await session.get_one(Tier, order.tier_id)
    own = GiftInterval(tier.interval) if tier.interval else None
    if interval is None or interval == own:
        return own
    if own is not None:
        raise Invalid(f"A gift in this tier repeats every {own.lower()}.", field="interval")
    if tier.type in SOLD_ONCE or order.event_id is not None:
        raise Invalid("A gift in this tier is given once.", field="interval")
    return interval


def _build(
    actor: Actor,
    order: Order,
    payee: Party,
    interval: GiftInterval,
    ends_after: date | None,
    expires_at: datetime | None,
) -> RecurringGift:
    """Build the gift that the order begins, as its first period; by card it waits for the payment of that."""
    if order.currency == CURRENTS:
        raise Invalid("Currents are given once. Leave the interval out.", field="interval")
    if expires_at is not None:
        raise Invalid("A transfer of a recurring gift is awaited until the next one.", field="expiresAt")
    assert payee.host is not None and actor.user is not None
    timezone = payee.host.timezone or UTC
    today = periods.day_of(now(), timezone)
    second = periods.next_day(today, interval, today.day)
    if ends_after is not None and ends_after < second:
        raise Invalid(f"Choose the day of the second charge, {second}, or a later one.", field="endsAfter")
    kind = PaymentMethodKind(order.payment_method_kind or PaymentMethodKind.BALANCE)
    waits = kind == PaymentMethodKind.PROVIDER
    return RecurringGift(
        id=new_id(),
        from_id=order.from_id,
        to_id=require_collective(payee).id,
        tier_id=order.tier_id,
        quantity=order.quantity,
        currency=order.currency,
        amount_minor=order.amount,
        tip_minor=order.tip,
        is_incognito=order.is_incognito,
        interval=interval,
        anchor_day=today.day,
        timezone=timezone,
        payment_method_kind=kind,
        payment_method_id=order.payment_method_id,
        description=order.description,
        starts_on=today,
        next_charge_on=today,
        ends_after=ends_after,
        status=GiftStatus.PENDING if waits else GiftStatus.ACTIVE,
        due_at=None if waits else now(),
        created_by_id=actor.user.id,
    )
