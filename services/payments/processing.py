"""Does what providers tell, each event once, in whatever order they arrive.

A provider's word about an order that is closed by then is kept, too: the money goes back to the giver.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Order, ProviderAccount, ProviderEvent, ProviderPayment, now
from models.enums import ProviderName, ProviderPaymentStatus
from services.access.actor import Actor
from services.collectives import platform_policy
from services.payments import accounts, disputes, endings, outcomes, returned
from services.payments.away import asking
from services.providers import protocol
from services.providers.offered import Providers, require_offered
from services.providers.protocol import EventKind, PaymentProvider
from services.recurring import card_charges

FOREIGN = "The event is of an account or payment that is not ours."
OTHER_MODE = "The event is of the provider's other mode: live or for tests."
STORED_WITHIN = timedelta(days=1)
"""An event of an order that is not stored by then is of one that never is: its transaction failed."""
_ENDED = {
    EventKind.FAILED: ProviderPaymentStatus.FAILED,
    EventKind.CANCELLED: ProviderPaymentStatus.CANCELLED,
}


class NotYetKnown(Exception):
    """The event is of a payment that we have not stored yet, or that is not known to be collected."""


@dataclass(frozen=True)
class _Known:
    """A locked payment, and what the provider told of it."""

    payment: ProviderPayment
    event: protocol.ProviderEvent


async def process(
    sessions: async_sessionmaker[AsyncSession], providers: Providers, *, event_id: UUID
) -> None:
    """Do what a stored event says, unless that is done. The provider is asked before anything is locked.

    Raises:
        NotYetKnown, NotSettledYet, ProviderAway: try again later.
    """
    async with sessions() as session:
        row = await session.get_one(ProviderEvent, event_id)
        if row.processed_at is not None:
            return
        provider = require_offered(providers, ProviderName(row.provider))
        event = provider.read(row.body)
        account = await _load_account(session, event, provider=provider)
    if event.kind is not None and account is not None:
        async with asking(sessions, account):
            event = await provider.complete(event)
    async with sessions.begin() as session:
        locked = (
            select(ProviderEvent)
            .where(col(ProviderEvent.id) == event_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        row = (await session.execute(locked)).scalar_one()
        if row.processed_at is not None:
            return
        is_fresh = row.received_at > now() - STORED_WITHIN
        error = await _apply(session, event, provider=provider, is_fresh=is_fresh)
        row.processed_at, row.error = now(), error


async def _load_account(
    session: AsyncSession, event: protocol.ProviderEvent, *, provider: PaymentProvider
) -> ProviderAccount | None:
    """Load the account of which an event tells; none if it is of the provider's other mode."""
    statement = select(ProviderAccount).where(
        col(ProviderAccount.provider) == provider.name,
        col(ProviderAccount.external_id) == event.account,
        col(ProviderAccount.livemode) == event.livemode,
        literal(event.livemode == provider.livemode),
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def _apply(
    session: AsyncSession, event: protocol.ProviderEvent, *, provider: PaymentProvider, is_fresh: bool
) -> str | None:
    """Do what an event says; return why nothing was done, if so. Locks: the payment, then its order."""
    if event.kind is None:
        return None
    if event.livemode != provider.livemode:
        return OTHER_MODE
    account = await _load_account(session, event, provider=provider)
    if account is None:
        return FOREIGN
    if event.kind in {EventKind.ACCOUNT_ENABLED, EventKind.ACCOUNT_DISABLED}:
        is_enabled = event.kind is EventKind.ACCOUNT_ENABLED
        return await accounts.note_state(session, account, is_enabled=is_enabled)
    payment = await _lock_payment(session, account, event)
    if payment is None:
        if event.order_id is not None and is_fresh:
            raise NotYetKnown(event.order_id)
        return FOREIGN
    actor = Actor(platform_id=await platform_policy.load_platform_id(session))
    handle = _HANDLERS[event.kind]
    return await handle(session, actor, _Known(payment, event))


async def _lock_payment(
    session: AsyncSession, account: ProviderAccount, event: protocol.ProviderEvent
) -> ProviderPayment | None:
    statement = (
        select(ProviderPayment)
        .where(
            col(ProviderPayment.provider_account_id) == account.id,
            or_(
                col(ProviderPayment.external_id) == event.payment,
                and_(
                    col(ProviderPayment.external_id).is_(None),
                    col(ProviderPayment.order_id) == event.order_id,
                ),
            ),
        )
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    payment = (await session.execute(statement)).scalar_one_or_none()
    if payment is not None and payment.external_id is None:
        payment.external_id = event.payment  # the provider tells of it before it answers
    return payment


async def _succeed(session: AsyncSession, actor: Actor, known: _Known) -> str | None:
    event = known.event
    return await outcomes.succeed(
        session, actor, known.payment, settled=event.settled, instrument=event.instrument
    )


async def _end(session: AsyncSession, actor: Actor, known: _Known) -> None:
    """Close the order of a payment that was refused or given up."""
    event = known.event
    assert event.kind is not None
    if event.kind is EventKind.FAILED and await _is_tried_again(session, known.payment):
        await _decline(session, actor, known)
    else:
        await endings.end(session, actor, known.payment, _ENDED[event.kind], failure=event.failure)


async def _is_tried_again(session: AsyncSession, payment: ProviderPayment) -> bool:
    """Return True for the period of a recurring gift, which is charged again. Locks: its sides, the gift."""
    gift = await card_charges.lock_gift(session, order_id=payment.order_id)
    order = await session.get_one(Order, payment.order_id, populate_existing=True)
    return card_charges.is_due_period(gift, order)


async def _decline(session: AsyncSession, actor: Actor, known: _Known) -> None:
    await outcomes.refuse(
        session, actor, known.payment, failure=known.event.failure, is_step=known.event.is_step
    )


async def _note_processing(_: AsyncSession, __: Actor, known: _Known) -> None:
    outcomes.note_processing(known.payment)


def _require_collected(known: _Known) -> None:
    """Require the word that the money came, which may come after what was done with the money."""
    if known.payment.status != ProviderPaymentStatus.SUCCEEDED:
        raise NotYetKnown(known.payment.order_id)


async def _take_refund(session: AsyncSession, actor: Actor, known: _Known) -> str | None:
    _require_collected(known)
    return await returned.note_refund(session, actor, known.payment, known.event)


async def _take_dispute(session: AsyncSession, actor: Actor, known: _Known) -> str | None:
    _require_collected(known)
    return await disputes.note_dispute(session, actor, known.payment, known.event)


_HANDLERS: dict[EventKind, Callable[[AsyncSession, Actor, _Known], Awaitable[str | None]]] = {
    EventKind.PROCESSING: _note_processing,
    EventKind.SUCCEEDED: _succeed,
    EventKind.FAILED: _end,
    EventKind.DECLINED: _decline,
    EventKind.CANCELLED: _end,
    EventKind.REFUNDED: _take_refund,
    EventKind.REFUND_FAILED: _take_refund,
    EventKind.DISPUTE_OPENED: _take_dispute,
    EventKind.DISPUTE_WON: _take_dispute,
    EventKind.DISPUTE_LOST: _take_dispute,
}
