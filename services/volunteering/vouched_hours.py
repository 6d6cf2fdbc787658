"""Hours that an ADMIN vouched for at check-in are paid at check-out, for the actual time."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, PlatformPolicy
from models.enums import OrderStatus
from services.access.actor import Actor
from services.orders import two_people
from services.orders.transitions import change_status
from services.volunteering import hours
from services.volunteering.check_in_decision import decide_presence


async def pay_actual_hours(
    session: AsyncSession, actor: Actor, *, order: Order, event: Collective, left_at: datetime
) -> Order:
    """Pay recorded hours for the actual time, or shorten them where a second ADMIN has to approve.

    Raises:
        InvalidState: the order is no longer pending.
    """
    nonprofit = await session.get_one(Collective, order.from_id)
    user = await session.get_one(Collective, order.to_id)
    policy = await session.get_one(PlatformPolicy, order.policy_id)
    presence = decide_presence(event, order, policy, left_at=left_at)
    ends_at = presence.ends_at
    assert order.ends_at is not None
    if not await two_people.vouch(session, actor, order, amount_minor=presence.amount_minor):
        if ends_at < order.ends_at:
            pending = OrderStatus.PENDING
            await change_status(session, order, from_status=pending, to_status=pending, ends_at=ends_at)
        return order
    await hours.pay_order(
        session, actor, order, amount_minor=presence.amount_minor, reason=None, ends_at=ends_at
    )
    named_by = hours.unagreed_volunteer(order)
    await hours.add_volunteer(session, order, nonprofit=nonprofit, user=user, named_by=named_by)
    return order
