"""Does what providers tell, each event once, in whatever order they arrive.

A provider's word about an order that is closed by then is kept, too: the money goes back to the giver.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import ProviderAccount, ProviderEvent, ProviderPayment, new_id, now
from models.enums import (
    OrderActionType,
    OrderStatus,
    ProviderName,
    ProviderPaymentStatus,
    TransactionKind,
)
from services.access.actor import Actor
from services.collectives import platform_policy
from services.orders import provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.history import add_actions, history_step
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import OrderSides
from services.payments import accounts, disputes, endings, instruments, returned
from services.payments.away import asking
from services.providers import protocol
from services.providers.offered import Providers, require_offered
from services.providers.protocol import EventKind, PaymentProvider

FOREIGN = "The event is of an account or payment that is not ours."
OTHER_MODE = "The event is of the provider's other mode: live or for tests."
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
        error = await _apply(session, event, provider=provider)
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
    session: AsyncSession, event: protocol.ProviderEvent, *, provider: PaymentProvider
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
        if event.order_id is not None:
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
            col(ProviderPayment.external_id) == event.payment,
        )
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def _succeed(session: AsyncSession, actor: Actor, known: _Known) -> str | None:
    """Pay the order of a collected payment; what came for a closed order goes back."""
    payment, event = known.payment, known.event
    if payment.status == ProviderPaymentStatus.SUCCEEDED:
        return None
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    payment.status, payment.updated_at = ProviderPaymentStatus.SUCCEEDED, now()
    payment.client_secret = payment.redirect_url = None
    payment.instrument_id = await instruments.keep(session, sides.order, payment, event.instrument)
    await session.flush()
    problem = await _why_not_payable(session, sides, payment)
    if problem is not None:
        await provider_refunds.add(
            session,
            order_id=payment.order_id,
            refund_id=new_id(),
            amount_minor=charged_minor(sides.order),
            reason=problem,
            is_stray=True,
        )
        return problem
    order = sides.order
    step = history_step(
        order, OrderActionType.PAY, actor, from_status=OrderStatus.PENDING, to_status=OrderStatus.PAID
    )
    await transitions.change_status(
        session, order, from_status=OrderStatus.PENDING, to_status=OrderStatus.PAID
    )
    await add_actions(session, [step])
    await post_order(session, actor, sides, TransactionKind.DONATION, settled=event.settled)
    await record_payment_effects(session, actor, sides)
    return None


async def _why_not_payable(session: AsyncSession, sides: OrderSides, payment: ProviderPayment) -> str | None:
    """Return why the money of a payment goes back to its giver, if it does."""
    if sides.order.status != OrderStatus.PENDING:
        return f"The order was {sides.order.status} when the money came."
    account = await session.get_one(ProviderAccount, payment.provider_account_id)
    if sides.payee.host is None or sides.payee.host.id != account.host_id:
        return "The payee has left the host that collected the money."
    return None


async def _end(session: AsyncSession, actor: Actor, known: _Known) -> None:
    """Close the order of a payment that was refused or given up."""
    event = known.event
    assert event.kind is not None
    await endings.end(session, actor, known.payment, _ENDED[event.kind], failure=event.failure)


async def _decline(session: AsyncSession, actor: Actor, known: _Known) -> None:
    """Note that an attempt was refused. The giver may try again, unless a bank had taken its time over it."""
    payment, event = known.payment, known.event
    if payment.status == ProviderPaymentStatus.PROCESSING:
        await _end(session, actor, replace(known, event=replace(event, kind=EventKind.FAILED)))
    elif payment.status == ProviderPaymentStatus.OPEN:
        payment.failure, payment.updated_at = event.failure, now()


async def _note_processing(_: AsyncSession, __: Actor, known: _Known) -> None:
    """Note that the giver has done their part, and the bank has not."""
    if known.payment.status == ProviderPaymentStatus.OPEN:
        known.payment.status, known.payment.updated_at = ProviderPaymentStatus.PROCESSING, now()


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
