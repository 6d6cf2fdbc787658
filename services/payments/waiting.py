"""Payments that nobody completes: given up at the provider first, then here."""

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Order, ProviderAccount, ProviderPayment, RecurringGift, now
from models.enums import GiftStatus, OrderStatus, ProviderName, ProviderPaymentStatus
from services.access.actor import Actor
from services.database.constraint_errors import is_outage
from services.payments import endings
from services.payments.away import asking
from services.providers.offered import Providers
from services.providers.protocol import PaymentAt, PaymentProvider, ProviderAway
from services.recurring.card_charges import GOES_ON
from services.recurring.periods import LATE_DAYS

KEPT_FOR = timedelta(hours=24)
"""How long a donation waits for its giver to pay at the provider."""
_AT_ONCE = 100
log = logging.getLogger(__name__)


async def cancel_unpaid(sessions: async_sessionmaker[AsyncSession], providers: Providers) -> int:
    """Give up payments that waited for a day, or whose orders or gifts are closed; return their number.

    The periods of recurring gifts wait for as long as they are charged again: 14 days.

    While a provider is away, its payments wait; those that it is collecting wait for its word. One that
    fails keeps no other waiting.
    """
    cancelled, away = 0, set[UUID]()
    async for payment, account in _list_due(sessions, providers):
        if account.id in away:
            continue
        try:
            cancelled += await _give_up(sessions, providers[ProviderName(account.provider)], payment, account)
        except ProviderAway:
            away.add(account.id)
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("a payment cannot be given up", extra={"order": str(payment.order_id)})
    return cancelled


async def _give_up(
    sessions: async_sessionmaker[AsyncSession],
    provider: PaymentProvider,
    payment: ProviderPayment,
    account: ProviderAccount,
) -> bool:
    """Give up a payment at its provider, then here; False if it is too late."""
    is_over = payment.external_id is None  # nothing was begun at the provider that anybody could pay
    if payment.external_id is not None:
        async with asking(sessions, account):
            is_over = await provider.cancel(
                PaymentAt(account=account.external_id or "", payment=payment.external_id)
            )
    async with sessions.begin() as session:
        return await _note(session, payment.order_id, is_over=is_over)


async def _list_due(
    sessions: async_sessionmaker[AsyncSession], providers: Providers
) -> AsyncIterator[tuple[ProviderPayment, ProviderAccount]]:
    """Yield what is to be given up at the providers that are offered. Order: the oldest first."""
    place = (col(ProviderPayment.created_at), col(ProviderPayment.order_id))
    is_charged = and_(
        col(RecurringGift.id) == Order.subscription_id,
        col(RecurringGift.status).in_(GOES_ON),
        col(RecurringGift.next_charge_on) == Order.period,
        col(RecurringGift.payment_method_id) == Order.payment_method_id,
        # As `progress.is_late`, which counts in the gift's time zone: that may be a day behind.
        func.coalesce(col(RecurringGift.failed_on), col(RecurringGift.next_charge_on))
        >= now().date() - timedelta(days=LATE_DAYS + 1),
        col(Order.status).in_([OrderStatus.PENDING, OrderStatus.FAILED]),
    )
    is_unwanted = and_(
        col(RecurringGift.id) == Order.subscription_id, col(RecurringGift.status) != GiftStatus.PENDING
    )
    due = (
        select(ProviderPayment, ProviderAccount)
        .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
        .join(Order, col(Order.id) == ProviderPayment.order_id)
        .where(
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
            tuple_(col(ProviderAccount.provider), col(ProviderAccount.livemode)).in_(
                [(name, provider.livemode) for name, provider in providers.items()]
            ),
            or_(
                col(ProviderPayment.created_at) < now() - KEPT_FOR,
                col(Order.status) != OrderStatus.PENDING,
                exists().where(is_unwanted),
            ),
            ~exists().where(is_charged),
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
