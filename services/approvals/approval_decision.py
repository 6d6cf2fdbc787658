"""The decisions on approvals of orders that move money: the amount, and what it does. No database."""

from collections.abc import Sequence
from dataclasses import dataclass

from models import Order, OrderItem
from models.enums import OrderStatus, PaymentMethodKind, PayoutMethodKind
from services.core.errors import Invalid, InvalidState
from services.core.money import Money, UncheckedAmount, to_minor
from services.orders.transitions import require_status


@dataclass(frozen=True, kw_only=True)
class ExpenseApproval:
    """What an approval of an expense does."""

    amount_minor: int
    is_paid: bool
    """True if the payee is paid into its balance at once, False if the amount is held."""
    is_reduced: bool
    """True if it is less than was asked for, which lines of a bill do not allow."""


def require_host_confirms(order: Order) -> None:
    """Require a contribution that its host confirms.

    Raises:
        InvalidState: a payment provider collects it.
    """
    if order.payment_method_kind == PaymentMethodKind.PROVIDER:
        raise InvalidState("The payment provider confirms this donation.", field="id")


def decide_amount(order: Order, amount: UncheckedAmount | None, reason: str | None) -> int:
    """Decide on the amount at which a pending order is approved; return it in minor units.

    Raises:
        InvalidState: the order is not pending.
        Invalid: the amount, another one without a reason, or one below the tip.
    """
    require_status(order, OrderStatus.PENDING)
    if amount is None:
        return order.amount
    amount_minor = to_minor(amount, field="amount", currency=order.currency)
    if amount_minor != order.amount and not reason:
        raise Invalid("Enter a reason for changing the amount.", field="reason")
    if order.tip is not None and amount_minor < order.tip:
        tip = Money(order.tip, order.currency)
        raise Invalid(
            f"This gift comes with a tip of {tip.text} {tip.currency}, which is at most as large as the gift."
            " Enter a larger amount, or reject the gift.",
            field="amount",
        )
    return amount_minor


def decide_expense_approval(
    order: Order, amount: UncheckedAmount | None, reason: str | None
) -> ExpenseApproval:
    """Decide on the approval of an expense.

    Raises:
        Invalid, InvalidState: as `decide_amount`, or more than was asked for.
    """
    amount_minor = decide_amount(order, amount, reason)
    if amount_minor > order.amount:
        raise Invalid(
            "Approve at most the requested amount. Only the payee can ask for more.", field="amount"
        )
    return ExpenseApproval(
        amount_minor=amount_minor,
        is_paid=order.payout_method_kind == PayoutMethodKind.BALANCE,
        is_reduced=amount_minor < order.amount,
    )


def require_no_lines(items: Sequence[OrderItem]) -> None:
    """Require that an expense that is approved in part is one amount.

    Raises:
        Invalid: its lines would not add up any more.
    """
    if items:
        raise Invalid(
            "The items must add up to the approved amount. Ask the payee to change them.", field="amount"
        )
