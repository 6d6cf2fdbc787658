"""How an order goes from one status to another: one conditional UPDATE, of many at once one wins."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Order, PaymentMethod, now
from models.enums import OrderStatus, OrderType
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import InvalidState, NotFound
from services.core.party import Party
from services.orders.base import Placed, sides

# Made once: an alias copies every column of its table, which took longer than the statement itself.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")


async def load_for_decision(
    session: AsyncSession, actor: Actor, *, order_id: UUID
) -> tuple[Placed, Subject, PaymentMethod | None]:
    """Return an order with its sides, the subject for permissions, and its payment method.

    Raises:
        NotFound: there is none that the actor may see.
    """
    statement = (
        select(Order, _PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST, PaymentMethod)
        .join(_PAYER, col(Order.from_id) == _PAYER.id)
        .join(_PAYEE, col(Order.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _PAYER.host_id == _PAYER_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(_PAYEE_HOST, _PAYEE.host_id == _PAYEE_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(PaymentMethod, col(Order.payment_method_id) == PaymentMethod.id)
        .where(col(Order.id) == order_id, visibility.of_order(actor))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("There is no such order", path=["input", "id"])
    order, from_, to, from_host, to_host, method = row
    placed = sides(order, Party(from_, from_host), Party(to, to_host), platform_id=actor.platform_id)
    subject = Subject(
        payer=from_,
        payee=to,
        payer_host=from_host,
        payee_host=to_host,
        collective=to if order.type in {OrderType.EXPENSE, OrderType.HOURS} else from_,
        created_by_actor=order.created_by_id is not None and order.created_by_id == actor.id,
    )
    return placed, subject, method


async def lock_orders(session: AsyncSession, _: Actor, *, order_ids: Sequence[UUID]) -> None:
    """Lock orders in the order of their ids, before any account: no two calls wait in a circle."""
    await session.execute(
        select(col(Order.id)).where(col(Order.id).in_(order_ids)).order_by(col(Order.id)).with_for_update()
    )


def wrong_status(order: Order, *expected: OrderStatus) -> InvalidState:
    """Return what to tell who finds an order in another status than `expected`."""
    return InvalidState(f"The order is {order.status}, not {' or '.join(expected)}", path=["input", "id"])


async def change_status(
    session: AsyncSession, order: Order, *, before: OrderStatus, after: OrderStatus, **columns: Any
) -> None:
    """Take the order from one status to another, if it is still there.

    Raises:
        InvalidState: somebody else was first.
    """
    moment = now()
    moved = await session.execute(
        update(Order)
        .where(col(Order.id) == order.id, col(Order.status) == before)
        .values(status=after, updated_at=moment, **columns)
        .returning(col(Order.id))
        .execution_options(synchronize_session=False)
    )
    if moved.scalar_one_or_none() is None:
        raise InvalidState("The order is not in that state any more", path=["input", "id"])
    session.expunge(order)
    order.status, order.updated_at = after, moment
    for name, value in columns.items():
        setattr(order, name, value)
