"""An order's append-only history: its row and the steps that changed it."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, OrderAction, new_id, now
from models.enums import (
    OrderActionType,
    OrderStatus,
)
from services.access.actor import Actor
from services.database.insert_rows import insert_rows
from services.round_trips.records import new_record


async def insert_order(session: AsyncSession, order: Order, actions: Sequence[OrderAction]) -> None:
    """Insert an order and its first steps: one statement each."""
    await insert_rows(session, [order])
    await add_actions(session, actions)


async def add_actions(session: AsyncSession, actions: Sequence[OrderAction]) -> None:
    """Insert steps of history in one statement."""
    await insert_rows(session, actions)


def creation_step(order: Order) -> OrderAction:
    """Build the first step of an order's history."""
    return new_record(
        OrderAction,
        order_id=order.id,
        type=OrderActionType.CREATE,
        actor_id=order.created_by_id,
        to_status=OrderStatus.PENDING,
        amount=order.amount,
    )


def history_step(
    order: Order,
    kind: OrderActionType,
    actor: Actor,
    *,
    from_status: OrderStatus,
    to_status: OrderStatus | None = None,
    amount_minor: int | None = None,
    reason: str | None = None,
) -> OrderAction:
    """Build a step that leads to `to_status`, or else to the order's present status."""
    return new_record(
        OrderAction,
        id=new_id(),
        order_id=order.id,
        type=kind,
        actor_id=actor.id,
        from_status=from_status,
        to_status=to_status or OrderStatus(order.status),
        reason=reason,
        at=now(),
        amount=amount_minor if amount_minor is not None else order.approved_amount or order.amount,
    )
