"""What becomes of a recurring gift that cannot be charged, by whosever fault."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, RecurringGift, now
from models.enums import GiftParty, GiftStatus, OrderActionType, OrderStatus
from services.access.actor import Actor
from services.core.errors import ErrorCode, Problem
from services.core.sql_files import read_clauses
from services.ledger.clearing import ClearingExceeded
from services.messaging.gift_templates import NOT_RESUMED, REFUSED_TOO_OFTEN, UNPAID
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.recurring import gift_mails, periods
from services.recurring.charge_methods import Charge, build_gift_order

DELAY = timedelta(hours=6)
"""After this, what failed by our fault is tried again."""
DELAY_TOLD = 3
"""The failure by our fault of which the payer is told."""
REFUSALS_TOLD = (1, 3)
"""The refusals of which the payer is told, beside the last."""
UNPAID_IN_A_ROW = 3
_BY_PAYER = {ErrorCode.INSUFFICIENT_FUNDS, ErrorCode.AMOUNT_TOO_SMALL, ErrorCode.LIMIT_EXCEEDED}
_SQL = read_clauses(Path(__file__).parent / "sql" / "charging.sql")


def is_by_payer(problem: Problem) -> bool:
    """True if the payer, and no server, rate, host or provider, is why a charge failed."""
    return problem.code in _BY_PAYER and not isinstance(problem, ClearingExceeded)


async def delay(session: AsyncSession, gift: RecurringGift, *, at: datetime) -> None:
    """Try a gift again some hours later; nothing of it counts. The payer is told of the third time."""
    gift.delays, gift.due_at = gift.delays + 1, at + DELAY
    if gift.delays == DELAY_TOLD:
        await gift_mails.tell(session, gift, template="gift_delayed", to_ids=[gift.from_id])


async def note(
    session: AsyncSession, server: Actor, charge: Charge, problem: Problem | None, *, at: datetime
) -> None:
    """Note why a gift could not be acted on; None is a fault of ours, and so is what could not be told."""
    if problem is None or charge.gift.notice is not None:
        await delay(session, charge.gift, at=at)
    elif charge.gift.status == GiftStatus.PAUSED:
        await _stay_paused(session, charge.gift)
    elif is_by_payer(problem):
        await refuse(session, server, charge, problem, at=at)
    else:
        await delay(session, charge.gift, at=at)


async def _stay_paused(session: AsyncSession, gift: RecurringGift) -> None:
    """Keep a gift paused whose day to resume has come, until its payer resumes it; tell both sides."""
    gift.resumes_on = None
    await _pause(session, gift, why=NOT_RESUMED)


async def refuse(
    session: AsyncSession, server: Actor, charge: Charge, problem: Problem, *, at: datetime
) -> None:
    """Note that a charge was refused, and when to try again; after the last time, the gift ends."""
    gift, order = charge.gift, charge.refused
    if order is None:
        order = build_gift_order(server, charge)
        order.status, order.expires_at = OrderStatus.FAILED, None
        await insert_order(session, order, [creation_step(order)])
        before = OrderStatus.PENDING
    else:
        before = OrderStatus.FAILED
    step = history_step(order, OrderActionType.FAIL, server, from_status=before, reason=problem.message)
    await add_actions(session, [step])
    retry = await count_refusal(session, gift, at=at)
    if retry is not None and gift.failures in REFUSALS_TOLD:
        await gift_mails.tell_of_refusal(session, gift, order, day=retry, problem=problem)


async def count_refusal(session: AsyncSession, gift: RecurringGift, *, at: datetime) -> date | None:
    """Count a refusal, and return the day of the next attempt; after the last one, end the gift."""
    today = periods.day_of(at, gift.timezone)
    gift.failures, gift.delays, gift.updated_at = gift.failures + 1, 0, now()
    gift.failed_on = gift.failed_on or today
    retry = periods.find_retry(gift.failed_on, today)
    if retry is None:
        await _end(session, gift)
        return None
    gift.status, gift.due_at = GiftStatus.PAST_DUE, periods.begin_of(retry, gift.timezone)
    await session.flush()
    return retry


async def _end(session: AsyncSession, gift: RecurringGift) -> None:
    gift.status, gift.ended_at, gift.failed_on, gift.due_at = GiftStatus.CANCELLED, now(), None, None
    gift.ended_reason = REFUSED_TOO_OFTEN
    sides = [gift.from_id, gift.to_id]
    await gift_mails.tell(session, gift, template="gift_ended", to_ids=sides, note=REFUSED_TOO_OFTEN)


async def pause_unpaid(session: AsyncSession, orders: Sequence[Order]) -> None:
    """Pause the gifts of expired orders of which the last three in a row were not paid. Locks: the gifts."""
    expired = {order.subscription_id: order.period for order in orders if order.subscription_id}
    if not expired:
        return
    parameters = {"ids": list(expired), "periods": list(expired.values()), "count": UNPAID_IN_A_ROW}
    rows = (await session.execute(_SQL["unpaid"], parameters)).all()
    ids = [row.id for row in rows if row.expired >= UNPAID_IN_A_ROW]
    if not ids:
        return
    statement = (
        select(RecurringGift)
        .where(col(RecurringGift.id).in_(ids), col(RecurringGift.status) == GiftStatus.ACTIVE)
        .order_by(col(RecurringGift.id))
        .with_for_update(key_share=True)
    )
    for gift in (await session.execute(statement)).scalars().all():
        await _pause(session, gift, why=UNPAID)


async def _pause(session: AsyncSession, gift: RecurringGift, *, why: str) -> None:
    gift.status, gift.paused_by, gift.due_at = GiftStatus.PAUSED, GiftParty.PLATFORM, None
    gift.pause_reason, gift.delays, gift.updated_at = why, 0, now()
    await session.flush()
    sides = [gift.from_id, gift.to_id]
    await gift_mails.tell(session, gift, template="gift_paused", to_ids=sides, note=why)
