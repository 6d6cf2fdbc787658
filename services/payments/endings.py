"""Payments that ended without money: refused, given up by the provider, or given up here."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import ProviderPayment, RecurringGift, now
from models.enums import OrderActionType, OrderStatus, ProviderPaymentStatus
from services.access.actor import Actor
from services.orders import guest_receipts, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.sides import OrderSides
from services.recurring import card_charges

_ORDER_ENDS = {
    ProviderPaymentStatus.FAILED: (OrderStatus.FAILED, OrderActionType.FAIL),
    ProviderPaymentStatus.CANCELLED: (OrderStatus.CANCELLED, OrderActionType.CANCEL),
}


async def end(
    session: AsyncSession,
    actor: Actor,
    payment: ProviderPayment,
    status: ProviderPaymentStatus,
    *,
    failure: str | None = None,
) -> bool:
    """End a locked payment and its order, and tell the giver; False if it has ended.

    Locks: both sides of its recurring gift and the gift, the order.
    """
    if payment.status not in {ProviderPaymentStatus.OPEN, ProviderPaymentStatus.PROCESSING}:
        return False
    payment.status, payment.failure, payment.updated_at = status, failure, now()
    payment.client_secret = payment.redirect_url = payment.asked_at = None
    await session.flush()
    gift = await card_charges.lock_gift(session, order_id=payment.order_id)
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    await close_order(session, actor, sides, gift, status, reason=failure)
    return True


async def close_order(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    gift: RecurringGift | None,
    status: ProviderPaymentStatus,
    *,
    reason: str | None,
) -> None:
    """Close an order that waits for a payment which ended like this, and note it for its recurring gift."""
    order = sides.order
    if order.status == OrderStatus.PENDING:
        to_status, action = _ORDER_ENDS[status]
        if card_charges.is_paid_otherwise(gift, order):
            to_status, action = _ORDER_ENDS[ProviderPaymentStatus.FAILED]
        await transitions.change_status(session, order, from_status=OrderStatus.PENDING, to_status=to_status)
        step = history_step(order, action, actor, from_status=OrderStatus.PENDING, reason=reason)
        await add_actions(session, [step])
        if gift is None:
            await _tell_giver(session, sides, reason=reason)
    if gift is not None:
        await card_charges.note_given_up(session, gift, order)


async def _tell_giver(session: AsyncSession, sides: OrderSides, *, reason: str | None) -> None:
    order = sides.order
    await guest_receipts.tell_giver(
        session,
        order,
        template="order_closed",
        payload={**mail_payload(order, to=sides.payee), "status": order.status, "reason": reason or ""},
    )
