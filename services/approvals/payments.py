"""Payment of approved orders, for each type of order that has one."""

from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order
from models.enums import OrderActionType, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.approvals.payment_decision import (
    require_no_fee,
    require_payable_cash_out,
    require_payable_expense,
)
from services.core.errors import InvalidState
from services.core.money import UncheckedAmount
from services.offers import redemptions
from services.orders.history import add_actions, history_step
from services.orders.payout_fees import parse_payout_fee
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import OrderSides
from services.orders.transitions import change_status


async def pay_expense(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    processor_fee: UncheckedAmount | None,
) -> Order:
    """Record the payout of an approved expense.

    Raises:
        SelfApproval: raised by the database if the actor approved it, and another ADMIN could pay it.
    """
    require_payable_expense(actor, sides.order, subject)
    return await _record_payout(session, actor, sides, processor_fee)


async def pay_cash_out(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    processor_fee: UncheckedAmount | None,
) -> Order:
    """Record the payout of an approved cash-out.

    Raises:
        SelfApproval: raised by the database if the actor approved it, and another ADMIN could pay it.
    """
    require_payable_cash_out(actor, sides.order, subject)
    return await _record_payout(session, actor, sides, processor_fee)


async def pay_redemption(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    processor_fee: UncheckedAmount | None,
) -> Order:
    """Pay the dollars of an approved redemption.

    Raises:
        Invalid: there is a processor fee.
    """
    require_no_fee(processor_fee)
    return await redemptions.pay(session, actor, sides, subject)


async def refuse_hours(
    _session: AsyncSession, actor: Actor, _sides: OrderSides, subject: Subject, /, **_arguments: object
) -> NoReturn:
    """Refuse the payment of hours, which are paid on approval."""
    require(actor, Action.APPROVE_HOURS, subject)
    raise InvalidState("Hours are paid when they are approved.", field="id")


async def refuse_contribution(
    _session: AsyncSession, actor: Actor, _sides: OrderSides, subject: Subject, /, **_arguments: object
) -> NoReturn:
    """Refuse the payment of a contribution, which is paid on approval."""
    require(actor, Action.APPROVE_DONATION, subject)
    raise InvalidState("This order is paid when it is approved.", field="id")


async def refuse_settlement(
    _session: AsyncSession, actor: Actor, _sides: OrderSides, subject: Subject, /, **_arguments: object
) -> NoReturn:
    """Refuse the payment of a settlement, which is paid on approval."""
    require(actor, Action.APPROVE_SETTLEMENT, subject)
    raise InvalidState("A settlement is paid when it is approved.", field="id")


async def _record_payout(
    session: AsyncSession, actor: Actor, sides: OrderSides, processor_fee: UncheckedAmount | None
) -> Order:
    """Post an approved order as paid outside, and release its hold. Locks: ledger accounts."""
    order, host = sides.order, sides.payer.host
    assert host is not None
    fee_minor = await parse_payout_fee(session, order, host, processor_fee)
    await change_status(session, order, from_status=OrderStatus.APPROVED, to_status=OrderStatus.PAID)
    await add_actions(
        session, [history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.APPROVED)]
    )
    await post_order(
        session, actor, sides, TransactionKind(order.type), payout_fee_minor=fee_minor, release=True
    )
    await record_payment_effects(session, actor, sides)
    return order
