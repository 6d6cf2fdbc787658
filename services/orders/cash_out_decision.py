"""The decisions on cash-outs: from the user and what they ask for to the order, without a database."""

from dataclasses import dataclass
from uuid import UUID

from models import Collective, Order
from models.enums import FeesPayer, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import Money, UncheckedAmount, to_minor
from services.ledger.transaction_amounts import CURRENTS
from services.orders.transitions import require_status
from services.round_trips.records import new_record


@dataclass(frozen=True, kw_only=True)
class CashOutFacts:
    """A user whose money a host holds, and how they are paid."""

    user: Collective
    payout_kind: PayoutMethodKind
    payout_method_id: UUID | None


def decide_cash_out_amount(actor: Actor, amount: UncheckedAmount) -> Money:
    """Decide on the amount of a cash-out, before a payout method is looked up.

    Raises:
        AccessDenied: nobody is signed in, or the token lacks the scope.
        Invalid: the amount, or it is in currents.
        InvalidState: no host holds money for the user.
    """
    require(actor, Action.CASH_OUT)
    user = actor.user
    assert user is not None
    if amount.currency == CURRENTS:
        raise Invalid("Currents cannot be paid out. Choose another currency.", field="amount.currency")
    if user.host_id is None or user.host_approved_at is None:
        raise InvalidState("You have no host that holds your money.", field="amount")
    return Money(to_minor(amount, field="amount"), amount.currency)


def decide_cash_out(
    actor: Actor, facts: CashOutFacts, money: Money, *, order_id: UUID, description: str | None
) -> Order:
    """Decide on a cash-out of an amount that was decided on.

    Raises:
        Invalid: it would be paid into a balance, or the description.
    """
    user, kind = facts.user, facts.payout_kind
    if kind is PayoutMethodKind.BALANCE:
        raise Invalid(
            "The money is in your balance already. Choose another payout method.", field="payoutMethod"
        )
    return new_record(
        Order,
        id=order_id,
        type=OrderType.CASH_OUT,
        status=OrderStatus.PENDING,
        created_by_id=user.id,
        from_id=user.id,
        to_id=user.id,
        currency=money.currency,
        amount=money.minor_units,
        payout_method_kind=kind,
        payout_method_id=facts.payout_method_id,
        fees_payer=FeesPayer.PAYEE,
        has_public_side=False,
        platform_fee_bps=actor.platform_fee_bps,
        description=user_text.clean_text(description, field="description"),
    )


def require_approvable(order: Order, amount: UncheckedAmount | None) -> None:
    """Require a pending cash-out, and no other amount than the requested one, which is held already.

    Raises:
        InvalidState: the order is not pending.
        Invalid: the amount or its currency differs from the requested one.
    """
    require_status(order, OrderStatus.PENDING)
    if amount is not None and to_minor(amount, field="amount", currency=order.currency) != order.amount:
        raise Invalid("A cash-out can only be approved with the requested amount.", field="amount")


def require_may_pay(actor: Actor, order: Order, subject: Subject) -> None:
    """Require an ADMIN of the platform other than the user.

    Raises:
        AccessDenied: no rule allows the actor.
        SelfApproval: the actor is the user.
    """
    if actor.id == order.from_id:
        raise SelfApproval(field="id")
    require(actor, Action.PAY_CASH_OUT, subject)
