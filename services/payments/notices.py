"""What the host of a payee has to know of a payment through a provider."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.messaging import outbox
from services.orders.base import mail_payload
from services.orders.sides import OrderSides


async def tell_host(session: AsyncSession, sides: OrderSides, *, template: str) -> None:
    """Mail the host of an order's payee, if it has one."""
    if sides.payee.host is not None:
        await outbox.mail_admins(
            session,
            collective_ids=[sides.payee.host.id],
            template=template,
            payload=mail_payload(sides.order, to=sides.payee),
            order_id=sides.order.id,
        )
