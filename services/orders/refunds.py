"""Refunds: transactions that mirror an earlier one, in whole or in part."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.enums import OrderType, PaymentMethodKind
from services.access.actor import Actor
from services.access.permissions import require_signed_in
from services.core import user_text
from services.core.money import UncheckedAmount
from services.orders import approval_rights, provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.refund_decision import decide_part, require_may_refund
from services.orders.refund_postings import RefundResult, give_back
from services.orders.refundable import calls_to_refund, to_refundable


async def refund(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    refund_id: UUID,
    amount: UncheckedAmount | None = None,
    reason: str | None = None,
) -> RefundResult:
    """Refund an amount of a paid order, or all that remains, at the rates of the original.

    A tip goes back with the last of its gift, and not with a part of it.
    What a payment provider collected goes back through it: the ledger follows once it confirms that.
    Locks: the provider's payment, if there is one, the order, then both sides, then ledger accounts.

    Raises:
        InvalidState: the order is not paid, its type cannot be refunded, or a side is archived or has left
            the host that held its money.
        Invalid: the amount is more than remains.
        InsufficientFunds: from the database, if the receiver has spent it.
    """
    require_signed_in(actor)  # before anything is locked
    sides, subject, (payments, *rows) = await transitions.load_locked(
        session,
        actor,
        *calls_to_refund(order_id),
        before=provider_refunds.call_to_lock(order_id),
        order_id=order_id,
    )
    order = sides.order
    require_may_refund(actor, order, subject)
    if order.type in {OrderType.REDEMPTION, OrderType.CASH_OUT}:
        await approval_rights.require_disinterested(session, actor, sides)
    reason = user_text.clean_text(reason, field="reason")
    refundable = await to_refundable(session, sides, rows, status=order.status)
    part_minor = decide_part(order, refundable, amount)
    if order.payment_method_kind == PaymentMethodKind.PROVIDER:
        payment = provider_refunds.to_payment(payments)
        given_minor = await provider_refunds.sum_confirmed(session, order_id=order.id)
        part_minor = min(part_minor, charged_minor(order) - given_minor)
        await provider_refunds.request(
            session, actor, payment, refundable, part_minor, refund_id=refund_id, reason=reason
        )
        return RefundResult(order, [])
    return await give_back(session, actor, sides, refundable, part_minor, refund_id=refund_id, reason=reason)
