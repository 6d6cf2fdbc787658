"""Change an order's status with one conditional UPDATE; when calls race, exactly one succeeds."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Member, Order, OrderAction, PaymentMethod, now
from models.enums import MemberRole, OrderActionType, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import InvalidState, NotFound, SelfApproval
from services.core.party import Party
from services.orders.sides import OrderSides, order_sides

# Built once at import: creating an alias copies every column, which cost more than the query.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")


async def load_for_decision(
    session: AsyncSession, actor: Actor, *, order_id: UUID
) -> tuple[OrderSides, Subject]:
    """Load an order with its sides, and the subject of permissions on it.

    Raises:
        NotFound: there is no such order, or the actor may not see it.
    """
    statement = (
        select(Order, _PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST, PaymentMethod)
        .join(_PAYER, col(Order.from_id) == _PAYER.id)
        .join(_PAYEE, col(Order.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _PAYER.host_id == _PAYER_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(_PAYEE_HOST, _PAYEE.host_id == _PAYEE_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(PaymentMethod, col(Order.payment_method_id) == PaymentMethod.id)
        .where(col(Order.id) == order_id, visibility.order_is_visible(actor))
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


async def lock_orders(session: AsyncSession, _: Actor, *, order_ids: Sequence[UUID]) -> None:
    """Lock orders in the order of their ids, before any account, so that no two calls deadlock."""
    await session.execute(
        select(col(Order.id)).where(col(Order.id).in_(order_ids)).order_by(col(Order.id)).with_for_update()
    )


async def require_second_payer(session: AsyncSession, actor: Actor, order: Order) -> None:
    """Require that the payer did not approve the order, if another ADMIN of the platform could pay it.

    Raises:
        SelfApproval: the actor approved it.
    """
    has_approved = exists().where(
        col(OrderAction.order_id) == order.id,
        col(OrderAction.type) == OrderActionType.APPROVE,
        col(OrderAction.actor_id) == actor.id,
    )
    admin = aliased(Collective, name="admin")
    has_other = (
        select(col(Member.id))
        .join(admin, admin.id == col(Member.member_id))  # type: ignore[arg-type]  # SQLModel
        .where(
            col(Member.collective_id) == actor.platform_id,
            col(Member.role) == MemberRole.ADMIN,
            col(Member.until).is_(None),
            col(Member.member_id).not_in([actor.id, order.from_id]),
            col(admin.claimed_at).is_not(None),
            col(admin.archived_at).is_(None),
        )
        .exists()
    )
    if (await session.execute(select(and_(has_approved, has_other)))).scalar_one():
        raise SelfApproval(
            "You approved this order. Another ADMIN of the platform has to pay it.", field="id"
        )


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
