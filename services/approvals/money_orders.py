"""Approval of orders that move money: contributions by bank transfer, and expenses."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order
from models.enums import OrderActionType, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject, require
from services.approvals.approval_decision import (
    decide_amount,
    decide_expense_approval,
    require_host_confirms,
    require_no_lines,
)
from services.core.money import UncheckedAmount, convert
from services.ledger import exchange_rates, posting
from services.messaging import outbox
from services.orders import approval_rights, expenses, two_people
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import OrderSides
from services.orders.transitions import change_status


async def approve_contribution(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Approve a contribution that the host has received, and so pay it.

    Locks: ledger accounts.

    Raises:
        SelfApproval: the actor made it or acts for the giver, and the host has another ADMIN.
        InvalidState: a payment provider collects it.
    """
    require(actor, Action.APPROVE_DONATION, subject)
    order = sides.order
    require_host_confirms(order)
    single_limit = await approval_rights.require_disinterested(session, actor, sides)
    approved_minor = decide_amount(order, amount, reason)
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=approved_minor,
        is_amount_given=amount is not None,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    await _change_to_approved(session, actor, order, decision.amount_minor, reason, is_paid=True)
    await _settle(session, actor, sides)
    return order


async def approve_expense(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Approve an expense: hold its amount, or pay it at once into the payee's balance.

    Locks: ledger accounts.

    Raises:
        SelfApproval: the actor created the expense, or was an ADMIN of the payee since then.
        Invalid: more than the requested amount, or a part of what items add up to.
    """
    order = sides.order
    single_limit = await approval_rights.require_may_approve(
        session, actor, sides, subject, Action.APPROVE_EXPENSE
    )
    approval = decide_expense_approval(order, amount, reason)
    if approval.is_reduced:
        require_no_lines((await expenses.load_items(session, order_ids=[order.id]))[order.id])
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=approval.amount_minor,
        is_amount_given=amount is not None,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    await _change_to_approved(session, actor, order, decision.amount_minor, reason, is_paid=approval.is_paid)
    if approval.is_paid:
        await _settle(session, actor, sides)
    else:
        await _hold(session, sides)
        await _notify_of_approval(session, actor, sides)
    return order


async def _change_to_approved(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    approved_minor: int,
    reason: str | None,
    *,
    is_paid: bool,
) -> None:
    """Change the status to APPROVED, or through it to PAID, with a step of history each."""
    to_status = OrderStatus.PAID if is_paid else OrderStatus.APPROVED
    await change_status(
        session, order, from_status=OrderStatus.PENDING, to_status=to_status, approved_amount=approved_minor
    )
    steps = [
        history_step(
            order,
            OrderActionType.APPROVE,
            actor,
            from_status=OrderStatus.PENDING,
            to_status=OrderStatus.APPROVED,
            reason=reason,
        )
    ]
    if is_paid:
        steps.append(history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.APPROVED))
    await add_actions(session, steps)


async def _settle(session: AsyncSession, actor: Actor, sides: OrderSides) -> None:
    await post_order(session, actor, sides, TransactionKind(sides.order.type))
    await record_payment_effects(session, actor, sides)


async def _hold(session: AsyncSession, sides: OrderSides) -> None:
    """Hold the approved amount of the payer's balance, converted at the present rate."""
    order, payer = sides.order, sides.payer
    assert payer.host is not None
    pair = (order.currency, payer.currency)
    quote = (await exchange_rates.load_quotes(session, [pair]))[pair]
    await posting.place_hold(
        session,
        order_id=order.id,
        book_id=payer.host.id,
        owner_id=require_collective(payer).id,
        currency=payer.currency,
        amount_minor=convert(
            order.approved_amount or order.amount, quote.rate, source=order.currency, target=payer.currency
        ),
    )


async def _notify_of_approval(session: AsyncSession, actor: Actor, sides: OrderSides) -> None:
    order, host = sides.order, sides.payer.host
    assert host is not None
    await outbox.mail_admins(
        session,
        collective_ids=[order.to_id, host.id],
        template="expense_approved",
        payload=mail_payload(order, to=sides.payee),
        order_id=order.id,
        except_id=actor.id,
    )
