"""Payments of donations at a host's payment provider: their start, and what the giver needs to go on."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, PaymentMethod, ProviderAccount, ProviderPayment
from models.enums import ProviderAccountStatus, ProviderName, ProviderPaymentStatus
from services.core.errors import InvalidState
from services.orders.base import charged_minor
from services.orders.sides import OrderSides
from services.providers.offered import Providers
from services.providers.protocol import CollectRequest, PaymentProvider, Started

_REHEARSAL = Started(external_id="", client_secret="")


@dataclass(frozen=True)
class Handover:
    """What the giver needs to pay at the provider: the secret for its form, or a URL."""

    provider: ProviderName
    account: str | None
    client_secret: str | None
    redirect_url: str | None


async def begin(
    session: AsyncSession, sides: OrderSides, *, providers: Providers, is_rehearsal: bool
) -> ProviderPayment:
    """Begin the payment of an order that is not stored yet; the caller stores both.

    The provider is asked before anything is locked. A payment whose order is not stored ends by itself.

    Raises:
        InvalidState: the provider is not offered here, or no longer by this host.
        ProviderAway: the provider does not answer.
    """
    assert sides.payment_method is not None
    account, provider = await find_account(session, sides.payment_method, providers=providers)
    assert account.external_id is not None
    started = _REHEARSAL
    if not is_rehearsal:
        started = await provider.start(build_request(sides, account=account.external_id))
    return ProviderPayment(
        order_id=sides.order.id,
        provider_account_id=account.id,
        external_id=started.external_id or f"rehearsal_{sides.order.id.hex}",
        client_secret=started.client_secret,
        redirect_url=started.redirect_url,
        status=ProviderPaymentStatus.OPEN,
    )


def build_request(sides: OrderSides, *, account: str) -> CollectRequest:
    """Build the request to collect an order's amount and its tip, in one payment."""
    order, payee = sides.order, sides.payee.collective
    return CollectRequest(
        order_id=order.id,
        account=account,
        amount_minor=charged_minor(order),
        currency=order.currency,
        description=f"Donation to {payee.name}" if payee else "Donation",
    )


async def find_account(
    session: AsyncSession, method: PaymentMethod, *, providers: Providers
) -> tuple[ProviderAccount, PaymentProvider]:
    """Load the account of a payment method, and its provider.

    Raises:
        InvalidState: the settings offer no such provider, or the account collects nothing now.
    """
    account = await session.get_one(ProviderAccount, method.provider_account_id)
    provider = providers.get(ProviderName(account.provider))
    if (
        provider is None
        or account.status != ProviderAccountStatus.ACTIVE
        or account.livemode != provider.livemode
    ):
        raise InvalidState(
            "The host's payment provider takes no payments now. Choose another way of paying.",
            field="paymentMethod",
        )
    return account, provider


async def load_handover(session: AsyncSession, *, order_id: UUID) -> Handover | None:
    """Load what the giver of an order needs to pay it; None once the payment has ended."""
    statement = (
        select(ProviderPayment, ProviderAccount)
        .join(ProviderAccount, col(ProviderAccount.id) == ProviderPayment.provider_account_id)
        .join(Order, col(Order.id) == ProviderPayment.order_id)
        .where(
            col(ProviderPayment.order_id) == order_id,
            col(ProviderPayment.status) == ProviderPaymentStatus.OPEN,
        )
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    payment, account = row
    return Handover(account.provider, account.external_id, payment.client_secret, payment.redirect_url)
