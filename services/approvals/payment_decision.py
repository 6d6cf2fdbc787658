"""The decisions on payments of approved orders: who records them, and in which status. No database."""

from models import Order
from models.enums import OrderStatus
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid
from services.core.money import UncheckedAmount
from services.orders import cash_out_decision
from services.orders.transitions import require_status


def require_payable_expense(actor: Actor, order: Order, subject: Subject) -> None:
    """Require an approved expense, and that the actor may record its payout.

    Raises:
        AccessDenied: no rule allows the actor.
        InvalidState: the order is not approved.
    """
    require(actor, Action.PAY_EXPENSE, subject)
    require_status(order, OrderStatus.APPROVED)


def require_payable_cash_out(actor: Actor, order: Order, subject: Subject) -> None:
    """Require an approved cash-out of somebody else, and that the actor may record its payout.

    Raises:
        AccessDenied: no rule allows the actor.
        SelfApproval: the actor is the user.
        InvalidState: the order is not approved.
    """
    cash_out_decision.require_may_pay(actor, order, subject)
    require_status(order, OrderStatus.APPROVED)


def require_no_fee(processor_fee: UncheckedAmount | None) -> None:
    """Require that a redemption is paid without a fee.

    Raises:
        Invalid: there is a processor fee.
    """
    if processor_fee is not None and not processor_fee.value.is_zero():
        raise Invalid("A redemption is paid into a balance without a fee.", field="processorFee")
