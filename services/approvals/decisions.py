"""Decisions on orders: approval, rejection, payment, cancellation and expiry.

Each changes the status with one conditional UPDATE, so that exactly one of several racing calls succeeds.
"""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, now
from models.enums import OrderActionType, OrderStatus
from services.access.actor import Actor
from services.approvals.closing_decision import Closing, decide_cancellation, decide_rejection
from services.approvals.handlers import handler_of
from services.core import user_text
from services.core.money import UncheckedAmount
from services.ledger import posting
from services.messaging import outbox
from services.orders import approval_rights, confirmed_amounts, guest_receipts
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.sides import Interest, OrderSides
from services.orders.transitions import change_status, load_for_decision, load_with
from services.recurring import refusals
from services.volunteering import check_in_closing

_EXPIRED_AT_ONCE = 500


async def approve(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    amount: UncheckedAmount | None = None,
    reason: str | None = None,
) -> Order:
    """Approve an order; an amount other than the requested one needs a reason.

    This pays donations by bank transfer and hours, whose currents it issues. It holds the amount of an
    expense, or pays it at once into the payee's balance; a cash-out is held already. It moves the currents
    of a redemption, whose amount is the corrected price in dollars. Locks: the order, then ledger accounts.

    Raises:
        SelfApproval: the actor is the payee, or acts for it, or created the expense.
        InvalidState: the order is not pending.
        InsufficientFunds: from the database.
        ConfirmationRequired: more than the policy's amount, in a session that was not confirmed lately.
    """
    policy = await confirmed_amounts.read_policy_ahead(session, actor)
    call = approval_rights.interest_call(actor, order_id)
    sides, subject, ((interest,),) = await load_with(session, actor, call, order_id=order_id)
    sides = replace(sides, interest=Interest(*interest))
    reason = user_text.clean_text(reason, field="reason")
    handler = handler_of(sides.order)
    order = await handler.approve(session, actor, sides, subject, amount=amount, reason=reason)
    await confirmed_amounts.require_confirmed_above(session, actor, order, policy=policy)
    return order


async def pay(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    processor_fee: UncheckedAmount | None = None,
) -> Order:
    """Record the payout of an approved expense or cash-out, or pay a redemption's dollars.

    `processor_fee` is the bank's fee in the host's currency; the order says who bears it. Locks: the order,
    then ledger accounts.

    Raises:
        InvalidState: the order is not approved.
        InsufficientFunds: from the database.
    """
    sides, subject = await load_for_decision(session, actor, order_id=order_id)
    return await handler_of(sides.order).pay(session, actor, sides, subject, processor_fee=processor_fee)


async def reject(session: AsyncSession, actor: Actor, *, order_id: UUID, reason: str) -> Order:
    """Reject an order for a reason, and release its hold.

    Raises:
        InvalidState: it is paid or closed.
    """
    sides, subject = await load_for_decision(session, actor, order_id=order_id)
    await _close(session, actor, sides, decide_rejection(actor, sides.order, subject, reason=reason))
    return sides.order


async def cancel(session: AsyncSession, actor: Actor, *, order_id: UUID, reason: str | None = None) -> Order:
    """Cancel an order that is not paid, and release its hold.

    Raises:
        InvalidState: it is paid or closed.
    """
    sides, subject = await load_for_decision(session, actor, order_id=order_id)
    await _close(session, actor, sides, decide_cancellation(actor, sides.order, subject, reason=reason))
    return sides.order


async def _close(session: AsyncSession, actor: Actor, sides: OrderSides, closing: Closing) -> None:
    """Close an open order without payment, release its hold and tell the other side."""
    order, from_status, reason = sides.order, closing.from_status, closing.reason
    await change_status(session, order, from_status=from_status, to_status=closing.to_status)
    await add_actions(
        session, [history_step(order, closing.step_type, actor, from_status=from_status, reason=reason)]
    )
    await posting.release_hold(session, order_id=order.id)
    payload = {**mail_payload(order, to=sides.payee), "status": closing.to_status, "reason": reason or ""}
    if not closing.tells_payee:
        await guest_receipts.tell_giver(
            session, order, template="order_closed", payload=payload, except_id=actor.id
        )
        return
    await outbox.mail_admins(
        session,
        collective_ids=[order.to_id],
        template="order_closed",
        order_id=order.id,
        payload=payload,
        except_id=actor.id,
    )


async def expire_due_orders(session: AsyncSession) -> int:
    """Expire pending orders past their deadline and return their number; skips locked orders.

    First close the check-ins of events that have ended.
    """
    await check_in_closing.close_ended(session)
    due = (
        select(col(Order.id))
        .where(col(Order.status) == OrderStatus.PENDING, col(Order.expires_at) <= now())
        .limit(_EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    expired = await session.execute(
        update(Order)
        .where(col(Order.id).in_(due))
        .values(status=OrderStatus.EXPIRED, updated_at=now())
        .returning(Order)
        .execution_options(synchronize_session=False)
    )
    orders = list(expired.scalars())
    for order in sorted(orders, key=lambda o: o.id):
        if handler_of(order).is_held_while_pending:
            await posting.release_hold(session, order_id=order.id)
    if orders:
        server = Actor()
        steps = [
            history_step(order, OrderActionType.EXPIRE, server, from_status=OrderStatus.PENDING)
            for order in orders
        ]
        await add_actions(session, steps)
        await refusals.pause_unpaid(session, orders)
    return len(orders)
