"""Closing of check-ins whose event has ended without a check-out: the event's end is the check-out."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Order, now
from models.enums import OrderActionType, OrderStatus, OrderType
from services.access.actor import Actor
from services.collectives import platform_policy
from services.core.errors import Problem
from services.database.constraint_errors import problem_for
from services.orders.history import add_actions, history_step
from services.orders.transitions import change_status, take_turns
from services.round_trips import effects
from services.volunteering import vouched_hours

_CLOSED_AT_ONCE = 100
_VOLUNTEER = aliased(Collective, name="volunteer")


async def close_ended(session: AsyncSession, *, user_id: UUID | None = None) -> int:
    """Pay pending check-ins of ended events, of a user or of all, and return their number.

    Those that two people approve stay pending. Hours that cannot be paid, as when the nonprofit has reached
    its issuance cap, expire, so that they never block another check-in.

    Locks: the orders, skipping locked ones, then turns of volunteers, then those of crediting.
    """
    ended = (
        select(Order, Attendance, Collective, col(_VOLUNTEER.claimed_at).is_(None))
        .join(Attendance, col(Attendance.order_id) == Order.id)
        .join(Collective, col(Attendance.event_id) == Collective.id)
        .join(_VOLUNTEER, col(Order.to_id) == _VOLUNTEER.id)
        .where(
            col(Order.status) == OrderStatus.PENDING,
            col(Order.type) == OrderType.HOURS,
            col(Attendance.checked_out_at).is_(None),  # else they wait for a second ADMIN
            col(Collective.ends_at) <= now(),
        )
        .order_by(col(Order.id))
        .limit(_CLOSED_AT_ONCE)
        .with_for_update(of=Order, skip_locked=True, key_share=True)
    )
    if user_id is not None:
        ended = ended.where(col(Order.to_id) == user_id)
    rows = (await session.execute(ended)).all()
    if not rows:
        return 0
    server = Actor(platform_id=await platform_policy.load_platform_id(session))
    # A check-in that closes others inserts an order of the same user, and that takes the turn in any case.
    ids = {order.to_id for order, _, _, is_unclaimed in rows if is_unclaimed or user_id is not None}
    await take_turns(session, server, volunteer_ids=ids)
    for order, attendance, event, _ in rows:
        assert event.ends_at is not None
        attendance.checked_out_at = max(event.ends_at, attendance.checked_in_at)
        await session.flush()
        await _close(session, server, order, event)
    return len(rows)


async def _close(session: AsyncSession, server: Actor, order: Order, event: Collective) -> None:
    """Pay an order up to the event's end, or expire it if that is refused."""
    assert event.ends_at is not None
    order_id = order.id
    try:
        async with session.begin_nested():
            await vouched_hours.pay_actual_hours(
                session, server, order=order, event=event, left_at=event.ends_at
            )
            await effects.flush(session)
    except (Problem, DBAPIError) as error:
        if isinstance(error, DBAPIError) and problem_for(error) is None:
            raise
        await _expire(session, server, order_id)


async def _expire(session: AsyncSession, server: Actor, order_id: UUID) -> None:
    row = await session.get_one(Order, order_id, populate_existing=True)
    await change_status(session, row, from_status=OrderStatus.PENDING, to_status=OrderStatus.EXPIRED)
    await add_actions(
        session, [history_step(row, OrderActionType.EXPIRE, server, from_status=OrderStatus.PENDING)]
    )
