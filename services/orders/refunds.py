"""Refunds: transactions that mirror an earlier one, in whole or in part."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order
from models.enums import OrderType, PaymentMethodKind
from services.access.actor import Actor
from services.access.permissions import Action, require, require_signed_in
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import UncheckedAmount, to_minor
from services.orders import approval_rights, provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.refund_postings import RefundResult, give_back
from services.orders.refundable import Refundable, calls_to_refund, to_refundable

REFUNDABLE = {
    OrderType.DONATION: Action.REFUND_DONATION,
    OrderType.ADDED_FUNDS: Action.REFUND_DONATION,
    OrderType.EXPENSE: Action.REFUND_EXPENSE,
    OrderType.TRANSFER: Action.REFUND_TRANSFER,
    OrderType.HOURS: Action.REFUND_HOURS,
    OrderType.REDEMPTION: Action.REFUND_REDEMPTION,
    OrderType.CASH_OUT: Action.REFUND_CASH_OUT,
}
"""The types of order that can be refunded, with the permission each needs."""


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
    if order.type not in REFUNDABLE:
        require(actor, Action.REFUND_DONATION, subject)
        raise InvalidState(f"Orders of type {order.type} cannot be refunded.", field="id")
    require(actor, REFUNDABLE[OrderType(order.type)], subject)
    if order.type in {OrderType.REDEMPTION, OrderType.CASH_OUT}:
        await approval_rights.require_disinterested(session, actor, sides)
    reason = user_text.clean_text(reason, field="reason")
    refundable = await to_refundable(session, sides, rows, status=order.status)
    part_minor = _requested_minor(order, refundable, amount)
    if order.payment_method_kind == PaymentMethodKind.PROVIDER:
        payment = provider_refunds.to_payment(payments)
        given_minor = await provider_refunds.sum_confirmed(session, order_id=order.id)
        part_minor = min(part_minor, charged_minor(order) - given_minor)
        await provider_refunds.request(
            session, actor, payment, refundable, part_minor, refund_id=refund_id, reason=reason
        )
        return RefundResult(order, [])
    return await give_back(session, actor, sides, refundable, part_minor, refund_id=refund_id, reason=reason)


def _requested_minor(order: Order, refundable: Refundable, amount: UncheckedAmount | None) -> int:
    """Return what is to be given back, with the tip if nothing of the gift would be left."""
    remaining_minor = refundable.remaining["amount"]
    if amount is None:
        return refundable.total_minor
    part_minor = to_minor(amount, field="amount", currency=order.currency)
    if part_minor > remaining_minor:
        raise Invalid("This is more than remains to be refunded. Enter a smaller amount.", field="amount")
    return refundable.total_minor if part_minor == remaining_minor else part_minor
