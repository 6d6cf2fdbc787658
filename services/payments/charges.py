"""Charges of kept cards for the periods of recurring gifts: a job asks the provider, whose word decides.

The payment is begun first and named here; then its card is charged. A payment is collected once, however
often it is asked for, so a worker that ends in between leaves nothing in doubt.
"""

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Instrument, Order, ProviderAccount, ProviderPayment, RecurringGift, now
from models.enums import OrderStatus, ProviderAccountStatus, ProviderName, ProviderPaymentStatus
from services.access.actor import Actor
from services.collectives import platform_policy
from services.orders import provider_payments, provider_refunds
from services.payments import endings, fake_payments, outcomes
from services.payments.away import asking
from services.providers.offered import Providers, require_offered
from services.providers.protocol import (
    Charged,
    ChargeRequest,
    ChargeState,
    PaymentProvider,
    ProviderRefused,
    Started,
)
from services.recurring import card_charges, progress

Sessions = async_sessionmaker[AsyncSession]


@dataclass(frozen=True)
class _Asked:
    """A period that its gift waits for, and the card that pays it."""

    order: Order
    gift: RecurringGift
    payment: ProviderPayment
    account: ProviderAccount
    card: Instrument
    payee: str

    @property
    def key(self) -> str:
        """Key under which the provider begins the payment of this gift and period, however often."""
        return f"sub:{self.gift.id.hex}:{self.order.period}"

    @property
    def charge_key(self) -> str:
        """Key of this attempt: it begins when the order waits, and is made with one card."""
        return f"{self.key}:{self.order.updated_at.timestamp():.6f}:{self.card.id.hex}"


async def charge(sessions: Sessions, providers: Providers, *, order_id: UUID) -> None:
    """Charge the card of a recurring gift for a period that waits. Nothing is locked meanwhile.

    Raises:
        ProviderAway: try again later, with the same key.
    """
    async with sessions() as session:
        asked = await _load(session, order_id)
    if asked is None:
        return
    account = asked.account
    charged: Charged | None = None  # the host or its provider is why there is none, and not the giver
    provider = require_offered(providers, ProviderName(account.provider), livemode=account.livemode)
    if account.status == ProviderAccountStatus.ACTIVE:
        async with asking(sessions, account):
            with suppress(ProviderRefused):
                external_id = asked.payment.external_id or await _begin(sessions, provider, asked)
                if not await _note_asked(sessions, order_id):
                    return
                charged = await provider.charge(_build_request(asked, external_id))
    async with sessions.begin() as session:
        if charged is None:
            await outcomes.delay(session, await provider_refunds.lock_payment(session, order_id=order_id))
        else:
            await _take_answer(session, provider, asked, charged)


async def _load(session: AsyncSession, order_id: UUID) -> _Asked | None:
    """Load a period with the card that pays it; None if its gift does not wait for it any longer."""
    statement = (
        select(Order, RecurringGift, ProviderPayment, ProviderAccount, Instrument)
        .join(RecurringGift, col(RecurringGift.id) == Order.subscription_id)
        .join(ProviderPayment, col(ProviderPayment.order_id) == Order.id)
        .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
        .join(Instrument, col(Instrument.id) == RecurringGift.instrument_id)
        .where(
            col(Order.id) == order_id,
            col(Order.status) == OrderStatus.PENDING,
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
            col(Instrument.provider_account_id) == ProviderPayment.provider_account_id,
        )
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None or not card_charges.is_due_period(row[1], row[0]) or progress.is_late(row[1], now()):
        return None
    return _Asked(*row, payee=await provider_payments.name_payee(session, row[0]))


async def _begin(sessions: Sessions, provider: PaymentProvider, asked: _Asked) -> str:
    """Begin the payment of a period at its provider, and note its name; no money moves."""
    started = await provider.start(
        provider_payments.build_request(
            asked.order,
            payee_name=asked.payee,
            account=asked.account.external_id or "",
            customer=asked.card.customer_id,
            key=asked.key,
        )
    )
    async with sessions.begin() as session:
        payment = await provider_refunds.lock_payment(session, order_id=asked.order.id)
        if payment.external_id is None:
            _name(payment, started)
        assert payment.external_id is not None
        return payment.external_id


def _name(payment: ProviderPayment, started: Started) -> None:
    payment.external_id, payment.client_secret = started.external_id, started.client_secret
    payment.redirect_url, payment.updated_at = started.redirect_url, now()


async def _note_asked(sessions: Sessions, order_id: UUID) -> bool:
    """Note that the card is about to be charged; False if its gift does not wait for that any longer."""
    async with sessions.begin() as session:
        payment = await provider_refunds.lock_payment(session, order_id=order_id)
        gift = await card_charges.lock_gift(session, order_id=order_id)
        order = await session.get_one(Order, order_id, populate_existing=True)
        if (payment.status, order.status) != (ProviderPaymentStatus.OPEN, OrderStatus.PENDING):
            return False
        if not card_charges.is_due_period(gift, order):
            return False
        payment.asked_at = now()
        return True


def _build_request(asked: _Asked, external_id: str) -> ChargeRequest:
    return ChargeRequest(
        account=asked.account.external_id or "",
        payment=external_id,
        instrument=asked.card.external_id,
        customer=asked.card.customer_id,
        key=asked.charge_key,
        is_repeated=asked.payment.failure is not None,
    )


async def _take_answer(
    session: AsyncSession, provider: PaymentProvider, asked: _Asked, charged: Charged
) -> None:
    """Do what a provider answers, unless its event came first. Locks: the payment, the gift, the order."""
    payment = await provider_refunds.lock_payment(session, order_id=asked.order.id)
    actor = Actor(platform_id=await platform_policy.load_platform_id(session))
    if charged.state is ChargeState.COLLECTED:
        instrument = charged.instrument
        await outcomes.succeed(session, actor, payment, settled=charged.settled, instrument=instrument)
    elif charged.state is ChargeState.PROCESSING:
        outcomes.note_processing(payment)
    elif charged.state is ChargeState.OVER:
        await endings.end(session, actor, payment, ProviderPaymentStatus.CANCELLED, failure=charged.failure)
    else:
        is_step = charged.state is ChargeState.STEP_NEEDED
        await outcomes.refuse(session, actor, payment, failure=charged.failure, is_step=is_step)
    if provider.name == ProviderName.FAKE:
        await fake_payments.tell_of_charge(
            session, provider, asked.account, payment, charged.state, card=asked.card.external_id
        )
