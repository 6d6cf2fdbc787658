"""Payments that ended without money: refused, given up by the provider, or given up here."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import ProviderPayment, now
from models.enums import OrderActionType, OrderStatus, ProviderPaymentStatus
from services.access.actor import Actor
from services.orders import guest_receipts, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step

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
    """End a locked payment and its order, and tell the giver; False if it has ended. Locks: the order."""
    if payment.status not in {ProviderPaymentStatus.OPEN, ProviderPaymentStatus.PROCESSING}:
        return False
    payment.status, payment.failure, payment.updated_at = status, failure, now()
    payment.client_secret = payment.redirect_url = None
    await session.flush()
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    order = sides.order
    if order.status != OrderStatus.PENDING:
        return True
    to_status, action = _ORDER_ENDS[status]
    await transitions.change_status(session, order, from_status=OrderStatus.PENDING, to_status=to_status)
    step = history_step(order, action, actor, from_status=OrderStatus.PENDING, reason=failure)
    await add_actions(session, [step])
    await guest_receipts.tell_giver(
        session,
        order,
        template="order_closed",
        payload={**mail_payload(order, to=sides.payee), "status": to_status, "reason": failure or ""},
    )
    return True
