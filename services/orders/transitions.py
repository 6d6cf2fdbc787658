"""Change an order's status with one conditional UPDATE; when calls race, exactly one succeeds."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, func, literal, select, update
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
from services.orders.sides import OrderSides, order_sides

# Built once at import: creating an alias copies every column, which cost more than the query.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")
_TURN = 2
"""Seed of the advisory lock of a volunteer's turn, as in the database's `hours_take_turns`."""


async def load_for_decision(
    session: AsyncSession, actor: Actor, *, order_id: UUID
) -> tuple[OrderSides, Subject]:
    """Load an order with its sides, and the subject of permissions on it.

    Raises:
        NotFound: there is no such order, or the actor may not see it.
    """
    return await _load_sides(session, actor, col(Order.id) == order_id, visibility.order_is_visible(actor))


async def load_for_server(session: AsyncSession, actor: Actor, *, order_id: UUID) -> OrderSides:
    """Load an order with its sides for the server itself, which acts on every order."""
    sides, _ = await _load_sides(session, actor, col(Order.id) == order_id)
    return sides


async def _load_sides(
    session: AsyncSession, actor: Actor, *conditions: ColumnElement[bool]
) -> tuple[OrderSides, Subject]:
    statement = (
        select(Order, _PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST, PaymentMethod)
        .join(_PAYER, col(Order.from_id) == _PAYER.id)
        .join(_PAYEE, col(Order.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _PAYER.host_id == _PAYER_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(_PAYEE_HOST, _PAYEE.host_id == _PAYEE_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(PaymentMethod, col(Order.payment_method_id) == PaymentMethod.id)
        .where(*conditions)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("There is no such order. Check its id.", field="id")
    order, from_, to, from_host, to_host, method = row
    sides = order_sides(
        order,
        Party(from_, from_host),
        Party(to, to_host),
        platform_id=actor.platform_id,
        payment_method=method,
    )
    subject = Subject(
        payer=from_,
        payee=to,
        payer_host=from_host,
        payee_host=to_host,
        created_by_actor=order.created_by_id is not None and order.created_by_id == actor.id,
    )
    return sides, subject


async def lock_orders(session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]) -> None:
    """Lock orders in the order of their ids, then the turns of volunteers, both before any account.

    So two calls that lock several orders never wait for each other's orders or turns in a circle.
    """
    needs_turn = and_(col(Order.type) == OrderType.HOURS, col(Collective.claimed_at).is_(None))
    statement = (
        select(col(Order.to_id), needs_turn)
        .join(Collective, col(Order.to_id) == Collective.id)
        .where(col(Order.id).in_(order_ids))
        .order_by(col(Order.id))
        .with_for_update(of=Order)
    )
    rows = (await session.execute(statement)).all()
    await take_turns(session, actor, volunteer_ids={to_id for to_id, needs in rows if needs})


async def take_turns(session: AsyncSession, _: Actor, *, volunteer_ids: set[UUID]) -> None:
    """Take the turns of volunteers, as new hours do, in the order of their ids and before any account.

    Hours of a volunteer who never signed in take one by themselves when they are approved. In a transaction
    that approves several orders, that would be after the accounts of the earlier ones.
    """
    if volunteer_ids:
        ids = func.unnest(literal(sorted(volunteer_ids), ARRAY(Uuid))).table_valued("id").render_derived()
        await session.execute(select(func.pg_advisory_xact_lock(func.uuid_hash_extended(ids.c.id, _TURN))))


async def lock_open_sides(session: AsyncSession, parties: Sequence[Party]) -> None:
    """Lock the sides of an order, shared, and require that they are open; archiving waits.

    Raises:
        InvalidState: one is archived.
    """
    ids = {party.collective.id for party in parties if party.collective is not None}
    statement = (
        select(col(Collective.slug), col(Collective.archived_at))
        .where(col(Collective.id).in_(ids))
        .order_by(col(Collective.id))
        .with_for_update(read=True)
    )
    for slug, archived_at in (await session.execute(statement)).all():
        if archived_at is not None:
            raise InvalidState(f"{slug} is archived.", field="id")


def wrong_status(order: Order, *expected: OrderStatus) -> InvalidState:
    """Return the error for an order in the wrong status."""
    return InvalidState(f"The order is {order.status}, but must be {' or '.join(expected)}.", field="id")


async def change_status(
    session: AsyncSession, order: Order, *, from_status: OrderStatus, to_status: OrderStatus, **columns: Any
) -> None:
    """Change the order's status and `columns`, if it still has `from_status` and nobody has changed it.

    Raises:
        InvalidState: another call was faster.
    """
    updated_at = now()
    updated = await session.execute(
        update(Order)
        .where(
            col(Order.id) == order.id,
            col(Order.status) == from_status,
            col(Order.updated_at) == order.updated_at,
        )
        .values(status=to_status, updated_at=updated_at, **columns)
        .returning(col(Order.id))
        .execution_options(synchronize_session=False)
    )
    if updated.scalar_one_or_none() is None:
        raise InvalidState("The order has changed. Load it again.", field="id")
    session.expunge(order)
    order.status, order.updated_at = to_status, updated_at
    for name, value in columns.items():
        setattr(order, name, value)
