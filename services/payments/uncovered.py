"""Lost disputes and confirmed refunds for which there was not enough: posted as soon as there is."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Order, ProviderPayment, ProviderRefund, Transaction, now
from models.enums import DisputeStatus, OrderStatus, ProviderRefundStatus
from services.access.actor import Actor
from services.collectives import platform_policy
from services.database.constraint_errors import is_outage
from services.orders import provider_refunds, transitions
from services.payments import losses

Post: TypeAlias = Callable[[AsyncSession, Actor, UUID], Awaitable[bool]]
log = logging.getLogger(__name__)


async def post_waiting(sessions: async_sessionmaker[AsyncSession]) -> int:
    """Post what waits for money, if there is enough by now; return the number of what was posted."""
    disputes = select(col(ProviderPayment.order_id)).where(
        col(ProviderPayment.dispute_status) == DisputeStatus.LOST,
        col(ProviderPayment.is_dispute_posted).is_(False),
    )
    refunds = (
        select(col(ProviderRefund.id))
        .join(Order, col(Order.id) == ProviderRefund.order_id)
        .where(
            col(ProviderRefund.status) == ProviderRefundStatus.CONFIRMED,
            col(ProviderRefund.is_stray).is_(False),
            col(Order.status) == OrderStatus.PAID,
            ~select(col(Transaction.id)).where(col(Transaction.id) == ProviderRefund.id).exists(),
        )
    )
    async with sessions() as session:
        order_ids = (await session.execute(disputes.order_by(col(ProviderPayment.order_id)))).scalars().all()
        refund_ids = (await session.execute(refunds.order_by(col(ProviderRefund.id)))).scalars().all()
        actor = Actor(platform_id=await platform_policy.load_platform_id(session))
    posted = 0
    for post, ids in ((_post_refund, refund_ids), (_post_dispute, order_ids)):
        for row_id in ids:
            posted += await _attempt(sessions, actor, post, row_id)
    return posted


async def _attempt(
    sessions: async_sessionmaker[AsyncSession], actor: Actor, post: Post, row_id: UUID
) -> bool:
    """Post one of them, in a transaction of its own; what fails is logged, and keeps no other waiting."""
    try:
        async with sessions.begin() as session:
            return await post(session, actor, row_id)
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("what waits for money cannot be posted", extra={"row": str(row_id)})
        return False


async def _post_dispute(session: AsyncSession, actor: Actor, order_id: UUID) -> bool:
    payment = await provider_refunds.lock_payment(session, order_id=order_id)
    if payment.is_dispute_posted:
        return False
    sides = await transitions.load_for_server(session, actor, order_id=order_id)
    if not await losses.post(session, actor, sides, payment):
        return False
    payment.is_dispute_posted, payment.updated_at = True, now()
    return True


async def _post_refund(session: AsyncSession, actor: Actor, refund_id: UUID) -> bool:
    refund = await session.get_one(ProviderRefund, refund_id)
    await provider_refunds.lock_payment(session, order_id=refund.order_id)
    if await session.get(Transaction, refund_id) is not None:
        return False
    return await losses.post_refund(session, actor, refund) is None
