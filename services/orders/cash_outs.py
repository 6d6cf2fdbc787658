"""Cash-outs of a user's balance: requested by the user, approved and paid by an ADMIN of the platform."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from models.enums import OrderActionType, OrderStatus
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.ledger import posting
from services.messaging import outbox
from services.orders import approval_rights, payout_methods, two_people
from services.orders.base import mail_payload
from services.orders.cash_out_decision import (
    CashOutFacts,
    decide_cash_out,
    decide_cash_out_amount,
    require_approvable,
)
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.orders.method_names import MethodName
from services.orders.sides import OrderSides
from services.orders.transitions import change_status


async def request(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    amount: UncheckedAmount,
    payout_method: MethodName | str | None = None,
    description: str | None = None,
) -> Order:
    """Request an amount of the actor's own balance, which is held from now on.

    Raises:
        Invalid: the amount is in currents, or is to be paid into a balance.
        InvalidState: no host holds money for the user.
        InsufficientFunds: from the database.
    """
    money = decide_cash_out_amount(actor, amount)
    user = actor.user
    assert user is not None and user.host_id is not None
    kind, method_id = await payout_methods.resolve_payout_method(session, named_as=payout_method, payee=user)
    facts = CashOutFacts(user=user, payout_kind=kind, payout_method_id=method_id)
    order = decide_cash_out(actor, facts, money, order_id=order_id, description=description)
    await insert_order(session, order, [creation_step(order)])
    await posting.place_hold(
        session,
        order_id=order.id,
        book_id=user.host_id,
        owner_id=user.id,
        currency=order.currency,
        amount_minor=order.amount,
    )
    await _notify_platform(session, actor, order, user)
    return order


async def _notify_platform(session: AsyncSession, actor: Actor, order: Order, user: Collective) -> None:
    assert user.host_id is not None
    await outbox.mail_admins(
        session,
        collective_ids=[user.host_id],
        template="cash_out_requested",
        payload=mail_payload(order, to=Party(user)),
        order_id=order.id,
        except_id=actor.id,
    )


async def approve(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Approve a cash-out of the requested amount, which is held already.

    Raises:
        SelfApproval: the actor is the user, also by an account that was merged into theirs.
        Invalid: the amount or its currency differs from the requested one.
    """
    order = sides.order
    single_limit = await approval_rights.require_disinterested(session, actor, sides)
    require(actor, Action.APPROVE_CASH_OUT, subject)
    require_approvable(order, amount)
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=order.amount,
        is_amount_given=amount is not None,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    await change_status(
        session,
        order,
        from_status=OrderStatus.PENDING,
        to_status=OrderStatus.APPROVED,
        approved_amount=order.amount,
    )
    step = history_step(order, OrderActionType.APPROVE, actor, from_status=OrderStatus.PENDING, reason=reason)
    await add_actions(session, [step])
    await outbox.mail_users(
        session,
        user_ids=[order.from_id],
        template="cash_out_approved",
        payload=mail_payload(order, to=sides.payee),
        order_id=order.id,
    )
    return order
