"""Payments that nobody completes: given up at the provider first, then here."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Order, ProviderAccount, ProviderPayment, now
from models.enums import OrderActionType, OrderStatus, ProviderName, ProviderPaymentStatus
from services.access.actor import Actor
from services.orders import transitions
from services.orders.history import add_actions, history_step
from services.payments.away import asking
from services.providers.offered import Providers
from services.providers.protocol import PaymentAt, ProviderAway

KEPT_FOR = timedelta(hours=24)
"""How long a donation waits for its giver to pay at the provider."""
_AT_ONCE = 100


async def cancel_unpaid(sessions: async_sessionmaker[AsyncSession], providers: Providers) -> int:
    """Give up payments that waited for a day, or whose orders are closed; return their number.

    While a provider is away, its payments wait.
    """
    async with sessions() as session:
        due = (
            select(ProviderPayment, ProviderAccount)
            .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
            .join(Order, col(Order.id) == ProviderPayment.order_id)
            .where(
                col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
                or_(
                    col(ProviderPayment.created_at) < now() - KEPT_FOR,
                    col(Order.status) != OrderStatus.PENDING,
                ),
            )
            .order_by(col(ProviderPayment.created_at))
            .limit(_AT_ONCE)
        )
        rows = (await session.execute(due)).all()
    cancelled, away = 0, set[UUID]()
    for payment, account in rows:
        provider = providers.get(ProviderName(account.provider))
        if provider is None or account.id in away:
            continue
        try:
            async with asking(sessions, account):
                is_over = await provider.cancel(
                    PaymentAt(account=account.external_id or "", payment=payment.external_id)
                )
        except ProviderAway:
            away.add(account.id)
            continue
        if is_over:
            async with sessions.begin() as session:
                cancelled += await _close(session, payment.order_id)
    return cancelled


async def _close(session: AsyncSession, order_id: UUID) -> bool:
    """Cancel a payment that is still open, and its order. Locks: the payment, then the order."""
    locked = (
        select(ProviderPayment)
        .where(
            col(ProviderPayment.order_id) == order_id,
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
        )
        .with_for_update()
    )
    payment = (await session.execute(locked)).scalar_one_or_none()
    if payment is None:
        return False
    payment.status, payment.updated_at = ProviderPaymentStatus.CANCELLED, now()
    payment.client_secret = payment.redirect_url = None
    await session.flush()
    actor = Actor()
    sides = await transitions.load_for_server(session, actor, order_id=order_id)
    order = sides.order
    if order.status == OrderStatus.PENDING:
        step = history_step(
            order,
            OrderActionType.CANCEL,
            actor,
            from_status=OrderStatus.PENDING,
            to_status=OrderStatus.CANCELLED,
        )
        await transitions.change_status(
            session, order, from_status=OrderStatus.PENDING, to_status=OrderStatus.CANCELLED
        )
        await add_actions(session, [step])
    return True
