"""Refunds as providers have them: sent by a job, and confirmed by the provider's word."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, ProviderAccount, ProviderPayment, ProviderRefund, new_id
from models.enums import ProviderName, ProviderRefundStatus
from services.access.actor import Actor
from services.collectives import platform_policy
from services.orders import provider_refunds, transitions
from services.orders.provider_refunds import OPEN
from services.orders.refund_postings import give_back, load_refundable
from services.payments.away import asking
from services.providers.offered import Providers
from services.providers.protocol import EventKind, ProviderEvent, RefundAnswer, RefundRequest


async def send(sessions: async_sessionmaker[AsyncSession], providers: Providers, *, refund_id: UUID) -> None:
    """Send a refund to its provider, once, and do what it answers. Nothing is locked meanwhile.

    Raises:
        ProviderAway: try again later, with the same key.
    """
    async with sessions() as session:
        refund = await session.get_one(ProviderRefund, refund_id)
        payment = await session.get_one(ProviderPayment, refund.order_id)
        account = await session.get_one(ProviderAccount, payment.provider_account_id)
    provider = providers.get(ProviderName(account.provider))
    if provider is None or refund.status != ProviderRefundStatus.REQUESTED:
        return
    assert account.external_id is not None
    async with asking(sessions, account):
        answer = await provider.refund(
            RefundRequest(
                account=account.external_id,
                payment=payment.external_id,
                amount_minor=refund.amount_minor,
                key=str(refund.id),
            )
        )
    async with sessions.begin() as session:
        await _lock(session, refund.order_id)
        locked = await provider_refunds.lock_open(session, order_id=refund.order_id)
        if locked is not None and locked.id == refund_id:
            await _take_answer(session, await _actor_of(session, locked), locked, answer)


async def _lock(session: AsyncSession, order_id: UUID) -> None:
    """Lock the payment, as everything does that a provider tells of it."""
    await session.execute(
        select(col(ProviderPayment.order_id))
        .where(col(ProviderPayment.order_id) == order_id)
        .with_for_update()
    )


async def _actor_of(session: AsyncSession, refund: ProviderRefund) -> Actor:
    """Return the actor of a refund: who asked for it, or the server."""
    user = await session.get(Collective, refund.requested_by_id) if refund.requested_by_id else None
    return Actor(user=user, platform_id=await platform_policy.load_platform_id(session))


async def _take_answer(
    session: AsyncSession, actor: Actor, refund: ProviderRefund, answer: RefundAnswer
) -> None:
    if answer.status == ProviderRefundStatus.CONFIRMED:
        await provider_refunds.confirm(
            session, actor, refund, external_id=answer.external_id or str(refund.id)
        )
    elif answer.status == ProviderRefundStatus.FAILED:
        await provider_refunds.fail(session, actor, refund, failure=answer.failure or "The provider refused.")
    else:
        await provider_refunds.note_sent(session, refund, external_id=answer.external_id)


async def note_refund(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Do what a provider tells of a refund: ours, or one that the host made at the provider itself."""
    known = select(col(ProviderRefund.status)).where(
        col(ProviderRefund.order_id) == payment.order_id, col(ProviderRefund.external_id) == event.refund
    )
    status = (await session.execute(known)).scalar_one_or_none()
    if status is not None and status not in OPEN:
        return None
    refund = await provider_refunds.lock_open(session, order_id=payment.order_id)
    if refund is not None and (event.refund == refund.external_id or event.refund_key == str(refund.id)):
        by = await _actor_of(session, refund)
        if event.kind is EventKind.REFUND_FAILED:
            await provider_refunds.fail(session, by, refund, failure=event.failure or "The provider refused.")
        else:
            await provider_refunds.confirm(session, by, refund, external_id=event.refund or str(refund.id))
        return None
    if event.kind is EventKind.REFUND_FAILED:
        return "A refund failed that we did not ask for."
    return await _take_foreign(session, actor, payment, event)


async def _take_foreign(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Post a refund that the host made at the provider itself: only the ledger follows."""
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    refundable = await load_refundable(session, sides, is_told=True)
    remaining_minor = refundable.remaining["amount"]
    refund = ProviderRefund(
        id=new_id(),
        order_id=payment.order_id,
        external_id=event.refund,
        amount_minor=event.amount_minor or remaining_minor,
        status=ProviderRefundStatus.CONFIRMED,
        is_stray=False,
        reason="Refunded at the provider.",
    )
    session.add(refund)
    await session.flush()
    await give_back(
        session,
        actor,
        sides,
        refundable,
        min(refund.amount_minor, remaining_minor),
        refund_id=refund.id,
        reason=refund.reason,
    )
    return None
