"""Payments of donations at a host's payment provider: their start, and what the giver needs to go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Instrument, Order, PaymentMethod, ProviderAccount, ProviderPayment
from models.enums import ProviderAccountStatus, ProviderName, ProviderPaymentStatus
from services.access import visibility
from services.access.actor import Actor
from services.core.errors import InvalidState
from services.orders.base import charged_minor, due_minor
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
    due_minor: int
    """What is charged: the amount, and a tip beside it. Units: minor, of `currency`."""
    currency: str


async def begin(
    session: AsyncSession,
    sides: OrderSides,
    *,
    providers: Providers,
    is_rehearsal: bool,
    keeps_card: bool = False,
) -> ProviderPayment:
    """Begin the payment of an order that is not stored yet; the caller stores both.

    The card with which it is paid can be kept, to be charged again. The provider is asked before anything is
    locked. A payment whose order is not stored ends by itself.

    Raises:
        InvalidState: the provider is not offered here, or no longer by this host.
        ProviderAway: the provider does not answer.
    """
    assert sides.payment_method is not None
    account, provider = await find_account(session, sides.payment_method, providers=providers)
    assert account.external_id is not None
    started = _REHEARSAL
    if not is_rehearsal:
        payee = sides.payee.collective
        customer = None
        if keeps_card:
            customer = await _find_customer(session, provider, account, owner_id=sides.order.from_id)
        request = build_request(
            sides.order,
            payee_name=payee.name if payee else "",
            account=account.external_id,
            customer=customer,
            keeps_card=keeps_card,
        )
        started = await provider.start(request)
    return ProviderPayment(
        order_id=sides.order.id,
        provider_account_id=account.id,
        external_id=started.external_id or f"rehearsal_{sides.order.id.hex}",
        client_secret=started.client_secret,
        redirect_url=started.redirect_url,
        status=ProviderPaymentStatus.OPEN,
    )


def build_request(
    order: Order,
    *,
    payee_name: str,
    account: str,
    customer: str | None = None,
    keeps_card: bool = False,
    key: str = "",
) -> CollectRequest:
    """Build the request to collect an order's amount and its tip, in one payment."""
    return CollectRequest(
        order_id=order.id,
        account=account,
        amount_minor=charged_minor(order),
        currency=order.currency,
        description=f"Donation to {payee_name}" if payee_name else "Donation",
        customer=customer,
        keeps_card=keeps_card,
        key=key,
    )


async def name_payee(session: AsyncSession, order: Order) -> str:
    """Return the name of an order's payee."""
    return (await session.get_one(Collective, order.to_id)).name


async def _find_customer(
    session: AsyncSession, provider: PaymentProvider, account: ProviderAccount, *, owner_id: UUID
) -> str:
    """Return the provider's name of a giver: the one under which it keeps their cards, or a new one."""
    known = (
        select(col(Instrument.customer_id))
        .where(
            col(Instrument.owner_id) == owner_id,
            col(Instrument.provider_account_id) == account.id,
            col(Instrument.customer_id).is_not(None),
        )
        .order_by(col(Instrument.created_at))
        .limit(1)
    )
    found = (await session.execute(known)).scalar_one_or_none()
    assert account.external_id is not None
    return found or await provider.open_customer(account.external_id, owner_id)


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
    return (await _load_handovers(session, col(Order.id) == order_id)).get(order_id)


async def load_handovers(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, Handover]:
    """Load what the givers for whom the actor acts need to pay their orders, in one statement."""
    return await _load_handovers(session, col(Order.id).in_(order_ids), visibility.handover_is_visible(actor))


def select_handover(order: Any) -> Select[Any]:
    """Select what the giver of an order, whose columns are given, needs to pay it."""
    payment = ProviderPayment
    columns: Any = (
        col(ProviderAccount.provider),
        col(ProviderAccount.external_id).label("account"),
        col(payment.client_secret),
        col(payment.redirect_url),
        due_minor(order).label("due_minor"),
        order.currency.label("currency"),
    )
    return select(*columns).where(
        col(payment.order_id) == order.id,
        col(ProviderAccount.id) == payment.provider_account_id,
        col(payment.status) == ProviderPaymentStatus.OPEN,
        or_(col(payment.client_secret).is_not(None), col(payment.redirect_url).is_not(None)),
    )


async def _load_handovers(session: AsyncSession, *conditions: ColumnElement[bool]) -> dict[UUID, Handover]:
    statement = select_handover(Order).add_columns(col(Order.id)).where(*conditions)
    rows = (await session.execute(statement)).all()
    return {order_id: Handover(*handover) for *handover, order_id in rows}
