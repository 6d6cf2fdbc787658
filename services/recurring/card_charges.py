"""Recurring gifts by card: what becomes of a gift by its provider's word, which decides about each period.

The job of a charge and the word of the provider come in any order. Whoever acts on one locks the payment,
both sides of the gift, the gift, and then the order.
"""

from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, RecurringGift, now
from models.enums import GiftInterval, GiftStatus, OrderActionType, OrderStatus
from services.access.actor import Actor
from services.core.sql_files import read_clauses
from services.messaging.gift_templates import CARD_NOT_KEPT, NOT_BEGUN
from services.orders.history import add_actions, history_step
from services.orders.transitions import change_status
from services.recurring import gift_mails, periods, progress, refusals

GOES_ON = (GiftStatus.ACTIVE, GiftStatus.PAST_DUE)
_SQL = read_clauses(Path(__file__).parent / "sql" / "charging.sql")


async def lock_gift(session: AsyncSession, *, order_id: UUID) -> RecurringGift | None:
    """Lock the gift of which an order is a period, after both its sides; None if it is of none."""
    gift_id = (await session.execute(_SQL["lock"], {"order_id": order_id})).scalar_one_or_none()
    return None if gift_id is None else await session.get(RecurringGift, gift_id, populate_existing=True)


def is_due_period(gift: RecurringGift | None, order: Order) -> bool:
    """True if an order is the period that its gift waits for, and is paid as the gift says."""
    return (
        gift is not None
        and gift.status in GOES_ON
        and gift.next_charge_on == order.period
        and gift.payment_method_id == order.payment_method_id
    )


async def note_paid(
    session: AsyncSession, gift: RecurringGift, order: Order, *, instrument_id: UUID | None
) -> None:
    """Begin a gift whose first payment has come, or go on to its next period."""
    if gift.status == GiftStatus.PENDING:
        await _begin(session, gift, instrument_id)
    elif gift.next_charge_on == order.period:
        if gift.status in GOES_ON and instrument_id is not None and is_due_period(gift, order):
            gift.instrument_id = instrument_id
        _leave_period(gift)
    gift.updated_at = now()
    await session.flush()


async def _begin(session: AsyncSession, gift: RecurringGift, instrument_id: UUID | None) -> None:
    if instrument_id is None:
        await _end(session, gift, why=CARD_NOT_KEPT)
        return
    gift.instrument_id, gift.status = instrument_id, GiftStatus.ACTIVE
    gift.due_at = progress.due_at(gift)


def _leave_period(gift: RecurringGift) -> None:
    """Go on to the next period; a gift that was stopped meanwhile stays so."""
    if gift.status in GOES_ON:
        progress.advance(gift)
    elif gift.status == GiftStatus.PAUSED:
        gift.next_charge_on = periods.next_day(
            gift.next_charge_on, GiftInterval(gift.interval), gift.anchor_day
        )


async def note_refused(
    session: AsyncSession,
    server: Actor,
    gift: RecurringGift,
    order: Order,
    *,
    reason: str,
    is_step: bool,
) -> None:
    """Note that the bank refused a period, or wants its giver to confirm, and when to try again."""
    await change_status(session, order, from_status=OrderStatus.PENDING, to_status=OrderStatus.FAILED)
    step = history_step(order, OrderActionType.FAIL, server, from_status=OrderStatus.PENDING, reason=reason)
    await add_actions(session, [step])
    retry = await refusals.count_refusal(session, gift, at=now())
    if retry is not None and gift.failures in refusals.REFUSALS_TOLD:
        await gift_mails.tell_of_card(session, gift, order, day=retry, is_step=is_step)


async def note_given_up(session: AsyncSession, gift: RecurringGift, order: Order) -> None:
    """Note that a payment was given up: a gift that never began ends, another goes on after the period."""
    if gift.status == GiftStatus.PENDING:
        await _end(session, gift, why=NOT_BEGUN)
    elif gift.next_charge_on != order.period:
        return
    elif is_paid_otherwise(gift, order):
        gift.due_at = max(now(), progress.due_at(gift))  # it is tried in the way that was chosen meanwhile
    else:
        skipped, is_told = gift.next_charge_on, gift.status in GOES_ON
        _leave_period(gift)
        if is_told:
            await gift_mails.tell(session, gift, template="gift_skipped", to_ids=[gift.from_id], day=skipped)
    gift.updated_at = now()
    await session.flush()


async def _end(session: AsyncSession, gift: RecurringGift, *, why: str) -> None:
    gift.status, gift.ended_at, gift.ended_reason = GiftStatus.CANCELLED, now(), why
    await session.flush()
    await gift_mails.tell(session, gift, template="gift_ended", to_ids=[gift.from_id], note=why)


def is_paid_otherwise(gift: RecurringGift | None, order: Order) -> bool:
    """True if an order is the period that its gift waits for, which is paid in another way from now on."""
    return (
        gift is not None
        and gift.status in GOES_ON
        and gift.next_charge_on == order.period
        and gift.payment_method_id != order.payment_method_id
    )
