"""Cash-outs of a user's balance: requested by the user, approved and paid by an ADMIN of the platform."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from models.enums import FeesPayer, OrderActionType, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import UncheckedAmount, to_minor
from services.core.party import Party
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders import approval_rights, payout_methods, two_people
from services.orders.base import mail_payload
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.orders.method_names import MethodName
from services.orders.sides import OrderSides
from services.orders.transitions import change_status, wrong_status
from services.round_trips.records import new_record


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
    require(actor, Action.CASH_OUT)
    user = actor.user
    assert user is not None
    if amount.currency == CURRENTS:
        raise Invalid("Currents cannot be paid out. Choose another currency.", field="amount.currency")
    if user.host_id is None or user.host_approved_at is None:
        raise InvalidState("You have no host that holds your money.", field="amount")
    amount_minor = to_minor(amount, field="amount")
    kind, method_id = await payout_methods.resolve_payout_method(session, named_as=payout_method, payee=user)
    if kind is PayoutMethodKind.BALANCE:
        raise Invalid(
            "The money is in your balance already. Choose another payout method.", field="payoutMethod"
        )
    order = new_record(
        Order,
        id=order_id,
        type=OrderType.CASH_OUT,
        status=OrderStatus.PENDING,
        created_by_id=user.id,
        from_id=user.id,
        to_id=user.id,
        currency=amount.currency,
        amount=amount_minor,
        payout_method_kind=kind,
        payout_method_id=method_id,
        fees_payer=FeesPayer.PAYEE,
        has_public_side=False,
        platform_fee_bps=actor.platform_fee_bps,
        description=user_text.clean_text(description, field="description"),
    )
    await insert_order(session, order, [creation_step(order)])
    await posting.place_hold(
        session,
        order_id=order.id,
        book_id=user.host_id,
        owner_id=user.id,
        currency=order.currency,
        amount_minor=amount_minor,
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
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    if amount is not None and to_minor(amount, field="amount", currency=order.currency) != order.amount:
        raise Invalid("A cash-out can only be approved with the requested amount.", field="amount")
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


def require_may_pay(actor: Actor, order: Order, subject: Subject) -> None:
    """Require an ADMIN of the platform other than the user.

    Raises:
        SelfApproval: the actor is the user.
    """
    if actor.id == order.from_id:
        raise SelfApproval(field="id")
    require(actor, Action.PAY_CASH_OUT, subject)
