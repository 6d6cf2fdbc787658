"""Facts that all types of order share."""

from typing import Any

from sqlalchemy import ColumnElement, func

from models import Collective, Order
from services.core.money import Money
from services.core.party import Party

DECISION_DAYS = 60
"""Days until a pending order expires; of an expense, `EXPENSE_DECISION_DAYS`."""
EXPENSE_DECISION_DAYS = 365


def charged_minor(order: Order) -> int:
    """Return what the giver pays for an order: its amount, and a tip beside it."""
    own_minor = order.amount if order.approved_amount is None else order.approved_amount
    return own_minor + (order.tip or 0)


def due_minor(order: Any) -> ColumnElement[int]:
    """Build the SQL of `charged_minor` from an order's columns."""
    return func.coalesce(order.approved_amount, order.amount) + func.coalesce(order.tip, 0)


def mail_payload(order: Order, *, to: Party) -> dict[str, str]:
    """Build the facts of an order that mails name."""
    money = Money(order.approved_amount or order.amount, order.currency)
    tip = f"{Money(order.tip, order.currency).value} {order.currency}" if order.tip is not None else ""
    return {
        "tip": tip,
        "amount": f"{money.value} {money.currency}",
        "to": _name(to.collective),
        "type": order.type,
        "description": order.description or "",
    }


def _name(collective: Collective | None) -> str:
    return collective.name if collective else ""
