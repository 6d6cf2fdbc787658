"""What the pretended provider does with a pretended card: it tells us of it, as a real one would."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import ProviderAccount, ProviderPayment
from models.enums import ProviderName, ProviderPaymentStatus
from services.core.errors import Invalid, NotFound
from services.payments import intake
from services.providers import fake
from services.providers.fake import DECLINED, NEEDS_STEP, NUMBERS, PAYS_LATE, SignedEvent
from services.providers.protocol import ChargeState, PaymentProvider

LATE_SECONDS = 60
_BETWEEN_SECONDS = 5


class Outcome(StrEnum):
    """What the giver's page is told at once; only the events that follow decide."""

    TAKEN = "TAKEN"
    """The card was taken: the order tells what comes of it."""
    DECLINED = "DECLINED"
    """The card was refused."""
    NEEDS_STEP = "NEEDS_STEP"
    """The giver has to confirm once more."""


async def pay(
    session: AsyncSession,
    provider: PaymentProvider,
    *,
    client_secret: str,
    number: str,
    is_step_done: bool,
) -> Outcome:
    """Pay with a pretended card.

    Raises:
        NotFound: no payment waits for this secret.
        Invalid: the number is none of the pretended cards.
    """
    digits = "".join(number.split())
    if digits not in NUMBERS:
        raise Invalid("Enter one of the test cards; real cards do not work here.", field="number")
    statement = (
        select(ProviderPayment, ProviderAccount)
        .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
        .where(
            col(ProviderAccount.provider) == ProviderName.FAKE,
            col(ProviderPayment.external_id) == fake.payment_of_secret(client_secret),
            col(ProviderPayment.client_secret) == client_secret,
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
        )
    )
    is_printable = client_secret.isascii() and client_secret.isprintable()  # PostgreSQL takes no NUL
    row = (await session.execute(statement)).one_or_none() if is_printable else None
    if row is None:
        raise NotFound("This payment has ended, or there is none.", field="clientSecret")
    if digits == NEEDS_STEP and not is_step_done:
        return Outcome.NEEDS_STEP
    payment, account = row
    events = fake.events_of_card(
        digits,
        account=account.external_id or "",
        payment=fake.payment_of(payment.order_id),
        order_id=payment.order_id,
    )
    await _tell(
        session, provider, events, pause_seconds=LATE_SECONDS if digits == PAYS_LATE else _BETWEEN_SECONDS
    )
    return Outcome.DECLINED if digits == DECLINED else Outcome.TAKEN


async def tell_of_charge(
    session: AsyncSession,
    provider: PaymentProvider,
    account: ProviderAccount,
    payment: ProviderPayment,
    state: ChargeState,
    *,
    card: str,
) -> None:
    """Tell us of a kept card that was charged, beside the answer."""
    events = fake.events_of_charge(
        state,
        card,
        account=account.external_id or "",
        payment=fake.payment_of(payment.order_id),
        order_id=payment.order_id,
    )
    await _tell(session, provider, events, pause_seconds=LATE_SECONDS)


async def _tell(
    session: AsyncSession, provider: PaymentProvider, events: Sequence[SignedEvent], *, pause_seconds: int
) -> None:
    """Tell us of events, one after the other."""
    for number, event in enumerate(events):
        await intake.receive(
            session, provider, headers=event.headers, body=event.body, delay_seconds=number * pause_seconds
        )
