"""What happens to an order after it is made: approval, rejection, payment, withdrawal, expiry.

Every transition is one conditional UPDATE on the status that it leaves: of many at once, one wins.
"""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, PaymentMethod, now
from models.enums import (
    OrderActionType,
    OrderStatus,
    OrderType,
    PayoutMethodKind,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import named
from services.access.permissions import Action, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import AskedAmount, convert, to_minor
from services.ledger import exchange_rates, posting
from services.messaging import outbox
from services.offers import redemptions
from services.orders import cash_outs
from services.orders.base import Placed, action, add_actions, after_payment, settle, summary
from services.orders.transitions import load_for_decision, change_status, wrong_status
from services.volunteering import hours

_FROM_PAYEE = {OrderType.EXPENSE, OrderType.HOURS}
"""Orders that the receiving side asks for."""
_HELD_SINCE_ASKED = {OrderType.REDEMPTION, OrderType.CASH_OUT}
_REJECT = {
    OrderType.EXPENSE: Action.REJECT_EXPENSE,
    OrderType.HOURS: Action.REJECT_HOURS,
    OrderType.REDEMPTION: Action.REJECT_REDEMPTION,
    OrderType.CASH_OUT: Action.REJECT_CASH_OUT,
}


async def approve(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    amount: AskedAmount | None = None,
    reason: str | None = None,
) -> Order:
    """Approve an order; another amount than asked needs a reason.

    A donation by bank transfer is then paid, and so are hours: they issue currents. An expense is held, and
    paid at once where the payee is paid into its balance; a cash-out has been held since it was asked for. A
    redemption moves its currents; its amount is the corrected price, in dollars. Locks: the order, then
    ledger accounts.

    Raises:
        SelfApproval: the actor is the payee, or acts for it, or made the expense.
        InvalidState: the order does not wait for approval.
        InsufficientFunds: from the database.
    """
    placed, subject, method = await load_for_decision(session, actor, order_id=order_id)
    order = placed.order
    why = user_text.clean(reason, path=["input", "reason"])
    match order.type:
        case OrderType.HOURS:
            return await hours.approve(session, actor, placed, subject, amount=amount, reason=why)
        case OrderType.REDEMPTION:
            return await redemptions.approve(session, actor, placed, subject, amount=amount, reason=why)
        case OrderType.CASH_OUT:
            return await cash_outs.approve(session, actor, placed, subject, amount=amount, reason=why)
        case OrderType.EXPENSE:
            require(actor, Action.APPROVE_EXPENSE, subject)
            if subject.created_by_actor or actor.is_admin(subject.payee):
                raise SelfApproval(path=["input", "id"])
        case _:
            require(actor, Action.APPROVE_DONATION, subject)
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    return await _approve_money(session, actor, placed, method, minor=_adjusted(order, amount, why), why=why)


async def _approve_money(
    session: AsyncSession,
    actor: Actor,
    placed: Placed,
    method: PaymentMethod | None,
    *,
    minor: int,
    why: str | None,
) -> Order:
    order = placed.order
    held = order.type == OrderType.EXPENSE and order.payout_method_kind != PayoutMethodKind.BALANCE
    after = OrderStatus.APPROVED if held else OrderStatus.PAID
    await change_status(session, order, before=OrderStatus.PENDING, after=after, approved_amount=minor)
    steps = [
        action(
            order,
            OrderActionType.APPROVE,
            actor,
            before=OrderStatus.PENDING,
            after=OrderStatus.APPROVED,
            reason=why,
        )
    ]
    if after is OrderStatus.PAID:
        steps.append(action(order, OrderActionType.PAY, actor, before=OrderStatus.APPROVED))
    await add_actions(session, steps)
    if held:
        await _hold(session, placed)
        await _tell_approved(session, actor, placed)
        return order
    await settle(session, actor, placed, TransactionKind(order.type), method=method)
    await after_payment(session, actor, placed)
    return order


def _adjusted(order: Order, amount: AskedAmount | None, why: str | None) -> int:
    if amount is None:
        return order.amount
    minor = to_minor(amount, path=["input", "amount"], currency=order.currency)
    if minor != order.amount and not why:
        raise Invalid("Another amount needs a reason", path=["input", "reason"])
    return minor


async def _hold(session: AsyncSession, placed: Placed) -> None:
    order, payer = placed.order, placed.payer
    assert payer.host is not None
    pair = (order.currency, payer.currency)
    quote = (await exchange_rates.quotes(session, [pair]))[pair]
    await posting.hold(
        session,
        order_id=order.id,
        book_id=payer.host.id,
        owner_id=named(payer).id,
        currency=payer.currency,
        amount=convert(
            order.approved_amount or order.amount, quote.rate, source=order.currency, target=payer.currency
        ),
    )


async def _tell_approved(session: AsyncSession, actor: Actor, placed: Placed) -> None:
    order, host = placed.order, placed.payer.host
    assert host is not None
    await outbox.to_admins(
        session,
        collective_ids=[order.to_id, host.id],
        template="expense_approved",
        payload=summary(order, to=placed.payee),
        order_id=order.id,
        except_id=actor.id,
    )


async def reject(session: AsyncSession, actor: Actor, *, order_id: UUID, reason: str) -> Order:
    """Refuse an order, with a reason; an approved expense is freed.

    Raises:
        InvalidState: it is settled or closed.
    """
    placed, subject, _ = await load_for_decision(session, actor, order_id=order_id)
    order = placed.order
    require(actor, _REJECT.get(OrderType(order.type), Action.REJECT_DONATION), subject)
    why = user_text.required(reason, path=["input", "reason"], max_length=1000)
    await _close(
        session,
        actor,
        placed,
        OrderStatus.REJECTED,
        OrderActionType.REJECT,
        why,
        tell=[order.to_id if order.type in _FROM_PAYEE else order.from_id],
    )
    return order


async def cancel(session: AsyncSession, actor: Actor, *, order_id: UUID, reason: str | None = None) -> Order:
    """Withdraw an order that is not settled; a hold is freed.

    Raises:
        InvalidState: it is settled or closed.
    """
    placed, subject, _ = await load_for_decision(session, actor, order_id=order_id)
    require(actor, Action.CANCEL_ORDER, subject)
    order = placed.order
    await _close(
        session,
        actor,
        placed,
        OrderStatus.CANCELLED,
        OrderActionType.CANCEL,
        user_text.clean(reason, path=["input", "reason"]),
        tell=[order.from_id if order.type in _FROM_PAYEE else order.to_id],
    )
    return order


async def _close(
    session: AsyncSession,
    actor: Actor,
    placed: Placed,
    after: OrderStatus,
    step: OrderActionType,
    reason: str | None,
    *,
    tell: list[UUID],
) -> None:
    order = placed.order
    before = OrderStatus(order.status)
    open_in = [OrderStatus.PENDING]
    if order.type != OrderType.REDEMPTION:  # whose currents move when it is approved
        open_in.append(OrderStatus.APPROVED)
    if before not in open_in:
        raise wrong_status(order, *open_in)
    await change_status(session, order, before=before, after=after)
    await add_actions(session, [action(order, step, actor, before=before, reason=reason)])
    await posting.release(session, order_id=order.id)
    await outbox.to_admins(
        session,
        collective_ids=tell,
        template="order_closed",
        order_id=order.id,
        payload={**summary(order, to=placed.payee), "status": after, "reason": reason or ""},
        except_id=actor.id,
    )


async def pay(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    processor_fee: AskedAmount | None = None,
) -> Order:
    """Record that an approved expense or cash-out was paid, or pay a redemption's dollars: posts.

    `processor_fee` is what the bank took, in the host's currency; the order says who bears it.

    Raises:
        InvalidState: the expense is not approved.
        InsufficientFunds: from the database.
    """
    placed, subject, _ = await load_for_decision(session, actor, order_id=order_id)
    order = placed.order
    match order.type:
        case OrderType.REDEMPTION:
            if processor_fee is not None and not processor_fee.value.is_zero():
                raise Invalid(
                    "A redemption is paid into a balance, at no fee", path=["input", "processorFee"]
                )
            return await redemptions.pay(session, actor, placed, subject)
        case OrderType.CASH_OUT:
            cash_outs.require_may_pay(actor, order, subject)
        case OrderType.EXPENSE:
            require(actor, Action.PAY_EXPENSE, subject)
        case OrderType.HOURS:
            require(actor, Action.APPROVE_HOURS, subject)
            raise InvalidState("Hours are paid when they are approved", path=["input", "id"])
        case _:
            require(actor, Action.APPROVE_DONATION, subject)
            raise InvalidState("This order is paid when it is approved", path=["input", "id"])
    if order.status != OrderStatus.APPROVED:
        raise wrong_status(order, OrderStatus.APPROVED)
    host = placed.payer.host
    assert host is not None
    fee = (
        to_minor(processor_fee, path=["input", "processorFee"], currency=host.currency)
        if processor_fee is not None and not processor_fee.value.is_zero()
        else 0
    )
    await change_status(session, order, before=OrderStatus.APPROVED, after=OrderStatus.PAID)
    await add_actions(session, [action(order, OrderActionType.PAY, actor, before=OrderStatus.APPROVED)])
    await settle(session, actor, placed, TransactionKind(order.type), payout_fee_minor=fee, release=True)
    await after_payment(session, actor, placed)
    return order


async def expire(session: AsyncSession) -> int:
    """Close the orders whose time to decide is over; return how many. Skips those being decided now."""
    due = (
        select(col(Order.id))
        .where(col(Order.status) == OrderStatus.PENDING, col(Order.expires_at) <= now())
        .limit(500)
        .with_for_update(skip_locked=True)
    )
    closed = await session.execute(
        update(Order)
        .where(col(Order.id).in_(due))
        .values(status=OrderStatus.EXPIRED, updated_at=now())
        .returning(Order)
        .execution_options(synchronize_session=False)
    )
    orders = list(closed.scalars())
    for order in sorted(orders, key=lambda o: o.id):
        if order.type in _HELD_SINCE_ASKED:
            await posting.release(session, order_id=order.id)
    if orders:
        server = Actor()
        await add_actions(
            session,
            [action(order, OrderActionType.EXPIRE, server, before=OrderStatus.PENDING) for order in orders],
        )
    return len(orders)
