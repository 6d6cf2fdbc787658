"""Answers of givers in whose name a host added funds, and of guests whose address proved to be theirs."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, now
from models.enums import GiverStatus, MemberRole, OrderActionType, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.collectives import members
from services.core import user_text
from services.core.errors import InvalidState
from services.messaging import outbox
from services.orders import tier_choices
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.sides import OrderSides
from services.orders.transitions import detach, load_for_decision

_AT_ONCE = 100


async def confirm(session: AsyncSession, actor: Actor, *, order_id: UUID) -> Order:
    """Confirm funds that a host added in the giver's name; the order shows the giver from then on.

    Locks: the order.

    Raises:
        InvalidState: the order does not wait for a giver's answer, or was refunded.
    """
    sides = await _load_claim(session, actor, order_id, Action.CONFIRM_CONTRIBUTION)
    order = sides.order
    if order.status != OrderStatus.PAID:
        raise InvalidState("These funds were refunded.", field="id")
    assert order.claimed_giver_id is not None
    await _answer(session, order, GiverStatus.CONFIRMED, from_id=order.claimed_giver_id, origin_unknown=False)
    await _record(session, actor, sides, OrderActionType.CONFIRM, reason=None)
    if order.type == OrderType.DONATION:
        if not order.is_incognito:
            await members.add(session, order.to_id, order.claimed_giver_id, MemberRole.BACKER)
        await tier_choices.register_holder(session, order)
    return order


async def confirm_gifts(session: AsyncSession, user: Collective) -> None:
    """Confirm the paid gifts that a person made as a guest, who has just proved the address. Locks: them."""
    statement = (
        select(col(Order.id))
        .where(
            col(Order.claimed_giver_id) == user.id,
            col(Order.giver_status) == GiverStatus.WAITING,
            col(Order.type) == OrderType.DONATION,
            col(Order.status) == OrderStatus.PAID,
        )
        .order_by(col(Order.id))
        .limit(_AT_ONCE)
    )
    actor = Actor(user=user)
    for order_id in (await session.execute(statement)).scalars().all():
        await confirm(session, actor, order_id=order_id)


async def deny(session: AsyncSession, actor: Actor, *, order_id: UUID, reason: str | None = None) -> Order:
    """Deny funds that a host added in the giver's name; their origin stays unknown.

    Locks: the order.

    Raises:
        InvalidState: the order does not wait for a giver's answer.
    """
    sides = await _load_claim(session, actor, order_id, Action.DENY_CONTRIBUTION)
    await _answer(session, sides.order, GiverStatus.DENIED)
    await _record(
        session, actor, sides, OrderActionType.DENY, reason=user_text.clean_text(reason, field="reason")
    )
    return sides.order


async def _load_claim(session: AsyncSession, actor: Actor, order_id: UUID, action: Action) -> OrderSides:
    """Load an order that waits for its giver's answer, and require that the actor acts for the giver.

    Raises:
        InvalidState: it does not wait for one.
    """
    sides, _ = await load_for_decision(session, actor, order_id=order_id)
    giver_id = sides.order.claimed_giver_id
    giver = await session.get(Collective, giver_id) if giver_id is not None else None
    require(actor, action, Subject(payer=giver))
    if sides.order.giver_status != GiverStatus.WAITING:
        raise _not_waiting()
    return sides


def _not_waiting() -> InvalidState:
    return InvalidState("This order does not wait for the giver's answer. Load it again.", field="id")


async def _answer(session: AsyncSession, order: Order, status: GiverStatus, **columns: object) -> None:
    """Store the answer, if the order still waits for one and has not been refunded meanwhile."""
    values = {"giver_status": status, "updated_at": now(), **columns}
    answered = await session.execute(
        update(Order)
        .where(
            col(Order.id) == order.id,
            col(Order.giver_status) == GiverStatus.WAITING,
            col(Order.status) == order.status,
        )
        .values(**values)
        .returning(col(Order.id))
        .execution_options(synchronize_session=False)
    )
    if answered.scalar_one_or_none() is None:
        raise _not_waiting()
    detach(session, order)
    for name, value in values.items():
        setattr(order, name, value)


async def _record(
    session: AsyncSession, actor: Actor, sides: OrderSides, kind: OrderActionType, *, reason: str | None
) -> None:
    """Record the step, and tell the host."""
    order = sides.order
    step = history_step(order, kind, actor, from_status=OrderStatus(order.status), reason=reason)
    await add_actions(session, [step])
    host_id = sides.payee.host.id if sides.payee.host is not None else order.to_id
    await outbox.mail_admins(
        session,
        collective_ids=[host_id],
        template="contribution_answered",
        payload={
            **mail_payload(order, to=sides.payee),
            "status": str(order.giver_status),
            "reason": reason or "",
        },
        order_id=order.id,
        except_id=actor.id,
    )
