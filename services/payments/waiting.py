"""Payments that nobody completes: given up at the provider first, then here."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Order, ProviderAccount, ProviderPayment, now
from models.enums import OrderStatus, ProviderName, ProviderPaymentStatus
from services.access.actor import Actor
from services.payments import endings
from services.payments.away import asking
from services.providers.offered import Providers
from services.providers.protocol import PaymentAt, ProviderAway

KEPT_FOR = timedelta(hours=24)
"""How long a donation waits for its giver to pay at the provider."""
_AT_ONCE = 100


async def cancel_unpaid(sessions: async_sessionmaker[AsyncSession], providers: Providers) -> int:
    """Give up payments that waited for a day, or whose orders are closed; return their number.

    While a provider is away, its payments wait; those that it is collecting wait for its word.
    """
    cancelled, away = 0, set[UUID]()
    async for payment, account in _list_due(sessions, providers):
        if account.id in away:
            continue
        provider = providers[ProviderName(account.provider)]
        try:
            async with asking(sessions, account):
                is_over = await provider.cancel(
                    PaymentAt(account=account.external_id or "", payment=payment.external_id)
                )
        except ProviderAway:
            away.add(account.id)
            continue
        async with sessions.begin() as session:
            cancelled += await _note(session, payment.order_id, is_over=is_over)
    return cancelled


async def _list_due(
    sessions: async_sessionmaker[AsyncSession], providers: Providers
) -> AsyncIterator[tuple[ProviderPayment, ProviderAccount]]:
    """Yield what is to be given up at the providers that are offered. Order: the oldest first."""
    place = (col(ProviderPayment.created_at), col(ProviderPayment.order_id))
    due = (
        select(ProviderPayment, ProviderAccount)
        .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
        .join(Order, col(Order.id) == ProviderPayment.order_id)
        .where(
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
            col(ProviderAccount.provider).in_(list(providers)),
            or_(
                col(ProviderPayment.created_at) < now() - KEPT_FOR,
                col(Order.status) != OrderStatus.PENDING,
            ),
        )
        .order_by(*place)
        .limit(_AT_ONCE)
    )
    after: tuple[datetime, UUID] | None = None
    while True:
        page = due if after is None else due.where(tuple_(*place) > after)
        async with sessions() as session:
            rows = (await session.execute(page)).all()
        for payment, account in rows:
            yield payment, account
        if len(rows) < _AT_ONCE:
            return
        after = (rows[-1][0].created_at, rows[-1][0].order_id)


async def _note(session: AsyncSession, order_id: UUID, *, is_over: bool) -> bool:
    """Cancel a payment that is still open, and its order, or note that it is too late for that.

    Locks: the payment, then the order.
    """
    locked = (
        select(ProviderPayment)
        .where(
            col(ProviderPayment.order_id) == order_id,
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
        )
        .with_for_update(key_share=True)
    )
    payment = (await session.execute(locked)).scalar_one_or_none()
    if payment is None:
        return False
    if not is_over:
        payment.status, payment.updated_at = ProviderPaymentStatus.PROCESSING, now()
        return False
    return await endings.end(session, Actor(), payment, ProviderPaymentStatus.CANCELLED)
