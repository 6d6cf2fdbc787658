"""The decision on an edit of an expense by its payee: what may change, and to what. No database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models import Order
from models.enums import OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective, require_open
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.party import Party
from services.orders.expense_decision import clean_receipts
from services.orders.sides import OrderSides, receiving_fee_bps
from services.orders.transitions import require_status

EDITABLE = (OrderStatus.PENDING, OrderStatus.APPROVED)


@dataclass(frozen=True, kw_only=True)
class ExpenseChanges:
    """What the payee changes; None leaves it as it is."""

    lines: Sequence[tuple[str, int]] | None = None
    """The lines of the bill, in minor units of its currency."""
    payout: tuple[PayoutMethodKind, UUID | None] | None = None
    """Another payout method, by its kind and id."""
    description: str | None = None
    receipts: Sequence[str] | None = None


def require_editable(actor: Actor, sides: OrderSides, subject: Subject) -> None:
    """Require an open expense that the actor may edit.

    Raises:
        AccessDenied: no rule allows the actor.
        InvalidState: the order is no expense, is settled or closed, or a side is archived.
    """
    order = sides.order
    require(actor, Action.UPDATE_EXPENSE, subject)
    if order.type != OrderType.EXPENSE:
        raise InvalidState("Only an expense can be edited.", field="id")
    require_status(order, *EDITABLE)
    for side in (sides.payer, sides.payee):
        require_open(require_collective(side), field="id")


def decide_edit(order: Order, payee: Party, changes: ExpenseChanges) -> dict[str, Any]:
    """Decide which columns of an expense change, and to what; `payee` has the host that holds its money.

    Raises:
        Invalid: nothing to change; a text or a receipt.
        InvalidState: the payee has no balance to be paid into, or none in this currency.
    """
    terms: dict[str, Any] = {}
    if changes.payout is not None:
        terms |= _decide_payout(order, payee, *changes.payout)
    if changes.description is not None:
        terms["description"] = user_text.clean_text(changes.description, field="description")
    if changes.receipts is not None:
        terms["receipts"] = clean_receipts(changes.receipts)
    if changes.lines is not None:
        terms["amount"] = sum(amount_minor for _, amount_minor in changes.lines)
    if not terms:
        raise Invalid("Enter what to change.", field="id")
    return terms


def _decide_payout(
    order: Order, payee: Party, kind: PayoutMethodKind, method_id: UUID | None
) -> dict[str, Any]:
    into_balance = kind is PayoutMethodKind.BALANCE
    if into_balance and (payee.host is None or order.currency != payee.currency):
        raise InvalidState(
            "The payee has no balance in this currency here. Choose another payout method.",
            field="payoutMethod",
        )
    return {
        "payout_method_kind": kind,
        "payout_method_id": method_id,
        "host_fee_bps": receiving_fee_bps(payee) if into_balance else None,
    }
