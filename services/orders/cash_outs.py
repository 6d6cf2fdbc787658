"""Paying a user's balance out: asked for by the user, approved and paid by an ADMIN of the platform."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from models.enums import FeesPayer, OrderActionType, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import AskedAmount, to_minor
from services.core.party import Party
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders import payment_methods
from services.orders.base import Placed, action, add_actions, created, insert_order, summary
from services.orders.transitions import change_status, wrong_status


async def request(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    amount: AskedAmount,
    payout_method: str | None = None,
    description: str | None = None,
) -> Order:
    """Ask for an amount of the actor's own balance, which is held at once: the same money is asked for once.

    Raises:
        Invalid: currents, which are no money; or a payout into a balance.
        InvalidState: nobody holds money for the user.
        InsufficientFunds: from the database.
    """
    require(actor, Action.CASH_OUT)
    user = actor.user
    assert user is not None
    if amount.currency == CURRENTS:
        raise Invalid("Currents are time: they are not paid out", path=["input", "amount", "currency"])
    if user.host_id is None or user.host_approved_at is None:
        raise InvalidState("Nobody holds money for you", path=["input", "amount"])
    minor = to_minor(amount, path=["input", "amount"])
    kind, method_id = await payment_methods.payout_method(session, named_as=payout_method, payee=user)
    if kind is PayoutMethodKind.BALANCE:
        raise Invalid("It is in your balance already", path=["input", "payoutMethod"])
    order = Order(
        id=order_id,
        type=OrderType.CASH_OUT,
        status=OrderStatus.PENDING,
        created_by_id=user.id,
        from_id=user.id,
        to_id=user.id,
        currency=amount.currency,
        amount=minor,
        payout_method_kind=kind,
        payout_method_id=method_id,
        fees_payer=FeesPayer.PAYEE,
        has_public_side=False,
        platform_fee_bps=actor.platform_fee_bps,
        description=user_text.clean(description, path=["input", "description"]),
    )
    await insert_order(session, order, [created(order)])
    await posting.hold(
        session,
        order_id=order.id,
        book_id=user.host_id,
        owner_id=user.id,
        currency=order.currency,
        amount=minor,
    )
    await _tell_platform(session, actor, order, user)
    return order


async def _tell_platform(session: AsyncSession, actor: Actor, order: Order, user: Collective) -> None:
    assert user.host_id is not None
    await outbox.to_admins(
        session,
        collective_ids=[user.host_id],
        template="cash_out_requested",
        payload=summary(order, to=Party(user)),
        order_id=order.id,
        except_id=actor.id,
    )


async def approve(
    session: AsyncSession,
    actor: Actor,
    placed: Placed,
    subject: Subject,
    *,
    amount: AskedAmount | None,
    reason: str | None,
) -> Order:
    """Approve a cash-out as it was asked for; its amount is held already.

    Raises:
        SelfApproval: the actor is the user.
        Invalid: another amount: the user asks anew.
    """
    order = placed.order
    if actor.id == order.from_id:
        raise SelfApproval(path=["input", "id"])
    require(actor, Action.APPROVE_CASH_OUT, subject)
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    if amount is not None and to_minor(amount, path=["input", "amount"]) != order.amount:
        raise Invalid("A cash-out is approved as it was asked for", path=["input", "amount"])
    await change_status(
        session, order, before=OrderStatus.PENDING, after=OrderStatus.APPROVED, approved_amount=order.amount
    )
    step = action(order, OrderActionType.APPROVE, actor, before=OrderStatus.PENDING, reason=reason)
    await add_actions(session, [step])
    await outbox.to_users(
        session,
        user_ids=[order.from_id],
        template="cash_out_approved",
        payload=summary(order, to=placed.payee),
        order_id=order.id,
    )
    return order


def require_may_pay(actor: Actor, order: Order, subject: Subject) -> None:
    """Let through an ADMIN of the platform who is not the user.

    Raises:
        SelfApproval: the actor is the user.
    """
    if actor.id == order.from_id:
        raise SelfApproval(path=["input", "id"])
    require(actor, Action.PAY_CASH_OUT, subject)
