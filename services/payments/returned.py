"""Refunds as providers have them: sent by a job, and confirmed by the provider's word."""

from uuid import UUID

from sqlalchemy import Text, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, Order, ProviderAccount, ProviderPayment, ProviderRefund, new_id
from models.enums import OrderStatus, ProviderName, ProviderRefundStatus
from services.access.actor import Actor
from services.collectives import platform_policy
from services.orders import provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.provider_refunds import OPEN
from services.payments import losses
from services.payments.away import asking
from services.payments.notices import tell_host
from services.providers.offered import Providers, require_offered
from services.providers.protocol import (
    EventKind,
    PaymentProvider,
    ProviderEvent,
    ProviderRefused,
    RefundAnswer,
    RefundRequest,
)

FAILED_LATE = (
    "A refund failed after the provider had confirmed it: the ledger shows it, and the host has the money."
)
CONFIRMED_LATE = "A refund was confirmed after the provider had refused it: the ledger does not show it."
REFUNDED_THERE = "The money was refunded at the payment provider itself."
TOO_MUCH = "The provider gave back more than was left of the order."


async def send(sessions: async_sessionmaker[AsyncSession], providers: Providers, *, refund_id: UUID) -> None:
    """Send a refund to its provider, once, and do what it answers. Nothing is locked meanwhile.

    Raises:
        ProviderAway: try again later, with the same key.
    """
    async with sessions() as session:
        refund = await session.get_one(ProviderRefund, refund_id)
        payment = await session.get_one(ProviderPayment, refund.order_id)
        account = await session.get_one(ProviderAccount, payment.provider_account_id)
        currency = (await session.get_one(Order, refund.order_id)).currency
    if refund.status != ProviderRefundStatus.REQUESTED:
        return
    provider = require_offered(providers, ProviderName(account.provider), livemode=account.livemode)
    assert account.external_id is not None and payment.external_id is not None
    async with asking(sessions, account):
        answer = await _ask(
            provider,
            RefundRequest(
                account=account.external_id,
                payment=payment.external_id,
                amount_minor=refund.amount_minor,
                currency=currency,
                key=str(refund.id),
            ),
        )
    async with sessions.begin() as session:
        await provider_refunds.lock_payment(session, order_id=refund.order_id)
        locked = await provider_refunds.lock_open(session, order_id=refund.order_id)
        if locked is not None and locked.id == refund_id:
            await _take_answer(session, await _actor_of(session, locked), locked, answer)


async def _ask(provider: PaymentProvider, request: RefundRequest) -> RefundAnswer:
    """Ask a provider for a refund; one that it does not make at all has failed."""
    try:
        return await provider.refund(request)
    except ProviderRefused as refused:
        return RefundAnswer(status=ProviderRefundStatus.FAILED, failure=refused.message)


async def _actor_of(session: AsyncSession, refund: ProviderRefund) -> Actor:
    """Return the actor of a refund: who asked for it, or the server."""
    user = await session.get(Collective, refund.requested_by_id) if refund.requested_by_id else None
    return Actor(user=user, platform_id=await platform_policy.load_platform_id(session))


async def _take_answer(
    session: AsyncSession, actor: Actor, refund: ProviderRefund, answer: RefundAnswer
) -> None:
    if answer.status == ProviderRefundStatus.CONFIRMED:
        await _confirm(session, actor, refund, external_id=answer.external_id)
    elif answer.status == ProviderRefundStatus.FAILED:
        await _fail(session, actor, refund, failure=answer.failure)
    else:
        await provider_refunds.note_sent(session, refund, external_id=answer.external_id)


async def note_refund(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Do what a provider tells of a refund: ours, or one that the host made at the provider itself.

    Return what is left to do by hand.
    """
    has_failed = event.kind is EventKind.REFUND_FAILED
    refund = await _find(session, payment.order_id, event)
    if refund is None:
        return (
            "A refund failed that we did not ask for."
            if has_failed
            else await _take_foreign(session, actor, payment, event)
        )
    if refund.status in OPEN:
        by = await _actor_of(session, refund)
        if has_failed:
            await _fail(session, by, refund, failure=event.failure)
            return None
        return await _confirm(session, by, refund, external_id=event.refund)
    if has_failed and refund.status == ProviderRefundStatus.CONFIRMED:
        if refund.is_stray:
            await _tell_host(session, actor, refund.order_id, template="stray_refund_failed")
        else:
            await _tell_host(session, actor, refund.order_id, template="refund_failed_late")
        return FAILED_LATE
    return CONFIRMED_LATE if not has_failed and refund.status == ProviderRefundStatus.FAILED else None


async def _fail(session: AsyncSession, actor: Actor, refund: ProviderRefund, *, failure: str | None) -> None:
    """Give up a refund that the provider refuses; of a stray one, the host has to give the money back."""
    await provider_refunds.fail(session, actor, refund, failure=failure or "The provider refused.")
    if refund.is_stray:
        await _tell_host(session, actor, refund.order_id, template="stray_refund_failed")


async def _confirm(
    session: AsyncSession, actor: Actor, refund: ProviderRefund, *, external_id: str | None
) -> str | None:
    """Note that the provider has given a refund back, and post it; return why that waits, if it does."""
    external_id = external_id or refund.external_id or str(refund.id)
    await provider_refunds.note_confirmed(session, refund, external_id=external_id)
    return None if refund.is_stray else await losses.post_refund(session, actor, refund)


async def _find(session: AsyncSession, order_id: UUID, event: ProviderEvent) -> ProviderRefund | None:
    """Lock the refund that an event is of, whatever became of it: by the provider's id, or by our key."""
    named = [cast(col(ProviderRefund.id), Text) == event.refund_key] if event.refund_key else []
    if event.refund is not None:
        named.append(col(ProviderRefund.external_id) == event.refund)
    if not named:
        return await provider_refunds.lock_open(session, order_id=order_id)
    statement = (
        select(ProviderRefund)
        .where(col(ProviderRefund.order_id) == order_id, or_(*named))
        .order_by((cast(col(ProviderRefund.id), Text) == (event.refund_key or "")).desc())
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalars().first()


async def _tell_host(session: AsyncSession, actor: Actor, order_id: UUID, *, template: str) -> None:
    """Tell the host of a payee that it has money which is to go back."""
    sides = await transitions.load_for_server(session, actor, order_id=order_id)
    await tell_host(session, sides, template=template)


async def _take_foreign(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Post a refund that the host made at the provider itself: only the ledger follows."""
    order = await session.get_one(Order, payment.order_id, populate_existing=True)
    left_minor = charged_minor(order) - await provider_refunds.sum_confirmed(session, order_id=order.id)
    told_minor = left_minor if event.amount_minor is None else event.amount_minor
    amount_minor = min(told_minor, left_minor)
    if amount_minor <= 0:
        return TOO_MUCH
    await _give_up_open(session, order_id=order.id, left_minor=left_minor - amount_minor)
    refund = ProviderRefund(
        id=new_id(),
        order_id=order.id,
        external_id=event.refund,
        amount_minor=amount_minor,
        status=ProviderRefundStatus.CONFIRMED,
        is_stray=order.status != OrderStatus.PAID,
        reason="Refunded at the provider.",
    )
    session.add(refund)
    await session.flush()
    if refund.is_stray:
        return f"The order was {order.status} when the provider gave money back."
    problem = await losses.post_refund(session, actor, refund)
    return problem or (TOO_MUCH if told_minor > amount_minor else None)


async def _give_up_open(session: AsyncSession, *, order_id: UUID, left_minor: int) -> None:
    """Give up the refund that waits if the provider has less left than it, and free what it set aside."""
    waiting = await provider_refunds.lock_open(session, order_id=order_id)
    if waiting is not None and waiting.amount_minor > left_minor:
        by = await _actor_of(session, waiting)
        await provider_refunds.fail(session, by, waiting, failure=REFUNDED_THERE)
