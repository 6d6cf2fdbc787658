"""Details of orders that the viewer has already been allowed to see: their history and refunded amounts."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderAction, RefundTotal, Transaction
from models.enums import OrderActionType
from services.access import visibility
from services.access.actor import Actor


async def load_refunded_amounts(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Load the refunded amounts of visible orders. Units: minor, of each order's currency."""
    statement = (
        select(col(Order.id), func.coalesce(func.sum(col(RefundTotal.refunded)), 0))
        .outerjoin(
            Transaction, and_(col(Transaction.order_id) == Order.id, col(Transaction.kind) == Order.type)
        )
        .outerjoin(RefundTotal, col(RefundTotal.transaction_id) == Transaction.id)
        .where(col(Order.id).in_(order_ids))
        .group_by(col(Order.id))
    )
    return {order_id: int(refunded) for order_id, refunded in await session.execute(statement)}


async def load_actions(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, list[OrderAction]]:
    """Load the history of visible orders, oldest step first.

    A giver's denial is left out unless the actor may know the giver: its author would reveal it.
    """
    is_shown = col(OrderAction.type) != OrderActionType.DENY
    if actor.user is not None:
        known = select(col(Order.id)).where(
            col(Order.id) == OrderAction.order_id, visibility.claimed_giver_is_visible(actor)
        )
        is_shown = or_(is_shown, known.exists())
    statement = (
        select(OrderAction)
        .where(col(OrderAction.order_id).in_(order_ids), is_shown)
        .order_by(col(OrderAction.order_id), col(OrderAction.at), col(OrderAction.id))
    )
    actions: dict[UUID, list[OrderAction]] = {key: [] for key in order_ids}
    for row in (await session.execute(statement)).scalars():
        actions[row.order_id].append(row)
    return actions
