"""Hours that an ADMIN vouches for: recorded at check-in, paid at once or at check-out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from sqlalchemy import DateTime, Text, Uuid, bindparam, cast, exists, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, OrderAction, PlatformPolicy
from models.enums import NamedBy, OrderStatus, OrderType
from services.access.actor import Actor
from services.core.errors import Conflict
from services.orders import two_people
from services.orders.history import creation_step, insert_order
from services.orders.transitions import change_status, wrong_status
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from services.volunteering import hours

_LIMITED_BY = ("id", "type", "from_id", "to_id", "currency", "starts_at")
"""Columns on which depends how much one person may approve."""
_TIME = DateTime(timezone=True)


@dataclass(frozen=True)
class Limits:
    """What keeps new hours from being paid at once."""

    overlaps: bool
    """True if the user has other hours at that time."""
    single_limit: int | None
    """The largest amount that one person may approve; None for no limit. Units: minor, of CUR."""


def build_vouched(
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit_id: UUID,
    user: Collective,
    starts_at: datetime,
    ends_at: datetime,
    event_id: UUID,
    description: str | None,
    max_duration: timedelta,
    policy: PlatformPolicy,
) -> Order:
    """Build a PENDING order of hours that an ADMIN vouches for.

    It credits at most `max_duration` and the policy's `max_event_hours_minor`.
    """
    order = hours.build_order(
        actor,
        order_id=order_id,
        nonprofit_id=nonprofit_id,
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
    return order


async def record_vouched(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    limits: Limits,
    *,
    nonprofit: Collective,
    user: Collective,
    pending: bool,
    is_agreed: bool,
) -> None:
    """Record an order of `build_vouched`, PAID at once or `pending` a known end.

    What one person may not approve alone is pending, too, and waits for a second ADMIN. `is_agreed` says that
    the user has agreed to be named as a volunteer. Callers check the permission.

    Raises:
        Conflict: the user has other hours at that time; also raised by the database if calls race.
        LimitExceeded: raised by the database if an issuance cap is reached.
    """
    if limits.overlaps:
        raise Conflict("The user already has hours at that time.", field="user")
    pending = pending or (limits.single_limit is not None and order.amount > limits.single_limit)
    steps: Sequence[OrderAction] = [creation_step(order)]
    if not pending:
        order.status, order.approved_amount = OrderStatus.PAID, order.amount
        steps = [*steps, *hours.approval_steps(actor, order, reason=None)]
    await insert_order(session, order, steps)
    if not pending:
        await hours.issue_currents(session, actor, order)
        await hours.add_volunteer(
            session,
            order,
            nonprofit=nonprofit,
            user=user,
            named_by=None if is_agreed else NamedBy.REFERENCE,
        )


_NEW_ORDER = func.jsonb_populate_record(
    literal_column('NULL::"order"'), cast(bindparam("new_order", type_=Text), JSONB)
)
_LIMITS = compile_statement(
    select(
        exists().where(
            col(Order.to_id) == bindparam("user_id", type_=Uuid),
            col(Order.type) == OrderType.HOURS,
            col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
            col(Order.starts_at) < bindparam("ends_at", type_=_TIME),
            col(Order.ends_at) > bindparam("starts_at", type_=_TIME),
        ),
        func.single_approval_limit(_NEW_ORDER),
    )
)


def call_for_limits(order: Order) -> Call:
    """Return the call that reads the limits of new hours; its row are those of `Limits`."""
    values = {
        "user_id": order.to_id,
        "starts_at": order.starts_at,
        "ends_at": order.ends_at,
        "new_order": orjson.dumps({name: getattr(order, name) for name in _LIMITED_BY}).decode(),
    }
    return Call(_LIMITS, values)


async def load_limits(session: AsyncSession, order: Order) -> Limits:
    """Load the limits of new hours."""
    ((row,),) = await effects.fetch(session, call_for_limits(order))
    return Limits(*row)


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
    named_by = hours.unagreed_volunteer(order)
    await hours.add_volunteer(session, order, nonprofit=nonprofit, user=user, named_by=named_by)
    return order
