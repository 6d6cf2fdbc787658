"""Hours that an ADMIN vouches for: recorded at check-in, paid at once or at check-out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import cast, exists, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, OrderAction, PlatformPolicy
from models.enums import OrderStatus, OrderType
from services.access.actor import Actor
from services.collectives import platform_policy
from services.core.errors import Conflict
from services.orders import two_people
from services.orders.history import creation_step, insert_order
from services.orders.transitions import change_status, wrong_status
from services.volunteering import hours, issuers

_LIMITED_BY = {"id", "type", "from_id", "to_id", "currency", "starts_at"}
"""Columns on which depends how much one person may approve."""


async def record_vouched_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit: Collective,
    user: Collective,
    starts_at: datetime,
    ends_at: datetime,
    event_id: UUID | None,
    description: str | None,
    pending: bool = False,
    max_duration: timedelta,
) -> Order:
    """Record hours that an ADMIN vouches for, PAID at once or `pending` a known end.

    What one person may not approve alone is pending, too, and waits for a second ADMIN. They credit at most
    `max_duration` and the policy's `max_event_hours_minor`. Callers check the permission.

    Raises:
        Conflict: the user has other hours at that time; also raised by the database if calls race.
        LimitExceeded: raised by the database if an issuance cap is reached.
    """
    issuers.require_issuer(nonprofit, field="event")
    policy = await platform_policy.load_policy(session)
    order = hours.build_order(
        actor,
        order_id=order_id,
        nonprofit=nonprofit,
        user=user,
        starts_at=starts_at,
        ends_at=ends_at,
        event_id=event_id,
        description=description,
        policy=policy,
    )
    order.amount = max(
        1, min(order.amount, hours.to_currents_minor(max_duration), policy.max_event_hours_minor)
    )
    overlaps, single_limit = await _check_new_hours(session, order)
    if overlaps:
        raise Conflict("The user already has hours at that time.", field="user")
    pending = pending or (single_limit is not None and order.amount > single_limit)
    steps: Sequence[OrderAction] = [creation_step(order)]
    if not pending:
        order.status, order.approved_amount = OrderStatus.PAID, order.amount
        steps = [*steps, *hours.approval_steps(actor, order, reason=None)]
    await insert_order(session, order, steps)
    if not pending:
        await hours.issue_currents(session, actor, order)
        await hours.add_volunteer(session, order, nonprofit=nonprofit, user=user)
    return order


async def _check_new_hours(session: AsyncSession, order: Order) -> tuple[bool, int | None]:
    """Return True if a new order overlaps other hours of its volunteer, and what one person may approve."""
    others = exists().where(
        col(Order.to_id) == order.to_id,
        col(Order.type) == OrderType.HOURS,
        col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
        col(Order.starts_at) < order.ends_at,
        col(Order.ends_at) > order.starts_at,
    )
    columns = order.model_dump(mode="json", include=_LIMITED_BY)
    new = func.jsonb_populate_record(literal_column('NULL::"order"'), cast(columns, JSONB))
    row = (await session.execute(select(others, func.single_approval_limit(new)))).one()
    return row[0], row[1]


async def pay_actual_hours(
    session: AsyncSession, actor: Actor, *, order_id: UUID, duration: timedelta, ends_at: datetime
) -> Order:
    """Pay hours recorded as `pending` for their actual duration, at least one minor unit.

    They credit no more than the order's policy allows an event. The order ends at `ends_at` from now on, but
    no later than recorded, also where it stays pending, because it needs a second ADMIN.

    Raises:
        InvalidState: the order is no longer pending.
    """
    order = await session.get_one(Order, order_id)
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    nonprofit = await session.get_one(Collective, order.from_id)
    user = await session.get_one(Collective, order.to_id)
    assert order.ends_at is not None and order.starts_at is not None
    ends_at = min(order.ends_at, max(ends_at, order.starts_at + timedelta(milliseconds=1)))
    policy = await session.get_one(PlatformPolicy, order.policy_id)
    amount_minor = max(1, min(hours.to_currents_minor(duration), policy.max_event_hours_minor))
    if not await two_people.vouch(session, actor, order, amount_minor=amount_minor):
        if ends_at < order.ends_at:
            pending = OrderStatus.PENDING
            await change_status(session, order, from_status=pending, to_status=pending, ends_at=ends_at)
        return order
    await hours.pay_order(session, actor, order, amount_minor=amount_minor, reason=None, ends_at=ends_at)
    await hours.add_volunteer(session, order, nonprofit=nonprofit, user=user)
    return order
