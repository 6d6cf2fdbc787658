"""One table of how each type of order is approved, rejected, paid, cancelled and expired."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order
from models.enums import OrderStatus, OrderType
from services.access.actor import Actor
from services.access.permissions import Action, Subject
from services.approvals import money_orders, payments
from services.core.money import UncheckedAmount
from services.offers import redemptions
from services.orders import cash_outs, settlements
from services.orders.sides import OrderSides
from services.volunteering import hours


class Approve(Protocol):
    """Approves an order of one type; raises the problems that `decisions.approve` names."""

    async def __call__(
        self,
        session: AsyncSession,
        actor: Actor,
        sides: OrderSides,
        subject: Subject,
        /,
        *,
        amount: UncheckedAmount | None,
        reason: str | None,
    ) -> Order:
        """Approve the order, perhaps with another amount."""


class Pay(Protocol):
    """Pays an order of one type; raises the problems that `decisions.pay` names."""

    async def __call__(
        self,
        session: AsyncSession,
        actor: Actor,
        sides: OrderSides,
        subject: Subject,
        /,
        *,
        processor_fee: UncheckedAmount | None,
    ) -> Order:
        """Pay the order."""


@dataclass(frozen=True, kw_only=True)
class OrderHandler:
    """The decisions on orders of one type."""

    approve: Approve
    pay: Pay
    reject_action: Action
    """The permission to reject."""
    is_requested_by_payee: bool = False
    """True if the payee asks for the order, and the payer decides it."""
    is_held_while_pending: bool = False
    """True if the amount is held from the request on."""
    open_statuses: tuple[OrderStatus, ...] = (OrderStatus.PENDING, OrderStatus.APPROVED)
    """The statuses in which the order can be rejected or cancelled."""


_CONTRIBUTION = OrderHandler(
    approve=money_orders.approve_contribution,
    pay=payments.refuse_contribution,
    reject_action=Action.REJECT_DONATION,
)
HANDLERS: dict[OrderType, OrderHandler] = {
    OrderType.DONATION: _CONTRIBUTION,
    OrderType.ADDED_FUNDS: _CONTRIBUTION,
    OrderType.TRANSFER: _CONTRIBUTION,
    OrderType.BONUS: _CONTRIBUTION,
    OrderType.EXPENSE: OrderHandler(
        approve=money_orders.approve_expense,
        pay=payments.pay_expense,
        reject_action=Action.REJECT_EXPENSE,
        is_requested_by_payee=True,
    ),
    OrderType.HOURS: OrderHandler(
        approve=hours.approve,
        pay=payments.refuse_hours,
        reject_action=Action.REJECT_HOURS,
        is_requested_by_payee=True,
    ),
    OrderType.REDEMPTION: OrderHandler(
        approve=redemptions.approve,
        pay=payments.pay_redemption,
        reject_action=Action.REJECT_REDEMPTION,
        is_held_while_pending=True,
        open_statuses=(OrderStatus.PENDING,),  # its currents move on approval
    ),
    OrderType.CASH_OUT: OrderHandler(
        approve=cash_outs.approve,
        pay=payments.pay_cash_out,
        reject_action=Action.REJECT_CASH_OUT,
        is_held_while_pending=True,
    ),
    OrderType.SETTLEMENT: OrderHandler(
        approve=settlements.approve,
        pay=payments.refuse_settlement,
        reject_action=Action.REJECT_SETTLEMENT,
    ),
}


def handler_of(order: Order) -> OrderHandler:
    """Return the handler of the order's type."""
    return HANDLERS[OrderType(order.type)]
