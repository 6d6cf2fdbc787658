"""Details of orders that the viewer has already been allowed to see: their history and refunded amounts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Numeric, Select, and_, any_, case, func, or_, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderAction, RefundTotal, Transaction
from models.enums import OrderActionType
from services.access import giver_visibility, visibility
from services.access.actor import Actor
from services.core.pagination import Sort
from services.database import fetch
from services.round_trips.records import column_names, split_records


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


def select_refunded(order: Any) -> Select[Any]:
    """Select the refunded amount of an order, whose columns are given, with its currency."""
    refunded = (
        select(func.coalesce(func.sum(col(RefundTotal.refunded)), 0))
        .join(Transaction, col(RefundTotal.transaction_id) == Transaction.id)
        .where(col(Transaction.order_id) == order.id, col(Transaction.kind) == order.type)
        .scalar_subquery()
    )
    return select(sql_cast(refunded, Numeric).label("minor"), order.currency.label("currency"))


def select_amount(part: Any) -> Select[Any]:
    """Select the amount of an order's part, whose columns are given, with the order's currency."""
    return select(part.amount.label("minor"), col(Order.currency).label("currency")).where(
        col(Order.id) == part.order_id
    )


def select_actions(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the history of a visible order, as `load_actions`: all columns of the steps, by their names."""
    del where  # has no conditions
    known_actor = case((giver_visibility.action_actor_is_visible(actor), col(OrderAction.actor_id)))
    columns = (
        known_actor.label("actor_id") if name == "actor_id" else getattr(OrderAction, name)
        for name in column_names(OrderAction)
    )
    return (select(*columns).where(col(OrderAction.order_id) == owner, _is_shown(actor)),)


ACTIONS_OLDEST = Sort("ACTIONS_OLDEST", col(OrderAction.at), col(OrderAction.id), descending=False)


def concerns_action(actor: Actor, action: Any) -> ColumnElement[bool]:
    """True in SQL if the order of a step, whose columns are given, concerns the actor."""
    found = select(col(Order.id)).where(
        col(Order.id) == action.order_id, visibility.order_concerns_viewer(actor, Order)
    )
    return found.exists()


async def load_actions(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, list[OrderAction]]:
    """Load the history of visible orders, oldest step first.

    A giver's denial is left out unless the actor may know the giver: its author would reveal it. Other steps
    of a giver whom the actor may not know have no author.
    """
    (statement,) = select_actions(actor, owner=any_(fetch.ids_parameter("owner_ids", order_ids)))
    rows = await session.execute(statement.order_by(ACTIONS_OLDEST.key, ACTIONS_OLDEST.id))
    steps: dict[UUID, list[OrderAction]] = {order_id: [] for order_id in order_ids}
    for row in rows:
        (step,) = split_records([OrderAction], row)
        steps[step.order_id].append(step)
    return steps


def _is_shown(actor: Actor) -> ColumnElement[bool]:
    """True for the steps of a visible order that the actor may see."""
    is_public = col(OrderAction.type) != OrderActionType.DENY
    if actor.user is None:
        return is_public
    known = select(col(Order.id)).where(
        col(Order.id) == OrderAction.order_id, visibility.claimed_giver_is_visible(actor)
    )
    return or_(is_public, known.exists())
