"""The decisions that close an order without payment: rejection and cancellation, without a database."""

from dataclasses import dataclass, replace

from models import Order
from models.enums import OrderActionType, OrderStatus
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.approvals.handlers import OrderHandler, handler_of
from services.core import user_text
from services.orders.transitions import require_status


@dataclass(frozen=True, kw_only=True)
class Closing:
    """How an order is closed."""

    from_status: OrderStatus
    to_status: OrderStatus
    step_type: OrderActionType
    reason: str | None
    tells_payee: bool
    """True if the payee is told, False for the payer: whoever did not close it."""


def decide_rejection(actor: Actor, order: Order, subject: Subject, *, reason: str) -> Closing:
    """Decide on the rejection of an order by whoever decides it.

    Raises:
        AccessDenied: no rule allows the actor.
        Invalid: there is no reason.
        InvalidState: the order is paid or closed.
    """
    handler = handler_of(order)
    require(actor, handler.reject_action, subject)
    return Closing(
        reason=user_text.require_text(reason, field="reason", max_length=1000),
        from_status=_require_open_status(order, handler),
        to_status=OrderStatus.REJECTED,
        step_type=OrderActionType.REJECT,
        tells_payee=handler.is_requested_by_payee,
    )


def decide_cancellation(actor: Actor, order: Order, subject: Subject, *, reason: str | None) -> Closing:
    """Decide on the cancellation of an order by the side that asked for it.

    Raises:
        AccessDenied: no rule allows the actor.
        InvalidState: the order is paid or closed.
    """
    handler = handler_of(order)
    requester = subject.payee if handler.is_requested_by_payee else subject.payer
    require(actor, Action.CANCEL_ORDER, replace(subject, collective=requester))
    return Closing(
        reason=user_text.clean_text(reason, field="reason"),
        from_status=_require_open_status(order, handler),
        to_status=OrderStatus.CANCELLED,
        step_type=OrderActionType.CANCEL,
        tells_payee=not handler.is_requested_by_payee,
    )


def _require_open_status(order: Order, handler: OrderHandler) -> OrderStatus:
    """Require a status in which an order of its type can be closed, and return it."""
    require_status(order, *handler.open_statuses)
    return OrderStatus(order.status)
