"""Hours that an ADMIN vouched for at check-in are paid at check-out, for the actual time."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, PlatformPolicy
from models.enums import OrderStatus
from services.access.actor import Actor
from services.orders import two_people
from services.orders.transitions import change_status, wrong_status
from services.volunteering import hours


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
