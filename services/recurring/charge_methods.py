"""One table of how each kind of payment method is charged for a period of a recurring gift."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PaymentMethod, ProviderAccount, ProviderPayment, RecurringGift, new_id
from models.enums import (
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    ProviderAccountStatus,
    ProviderPaymentStatus,
    TransactionKind,
)
from services.access.actor import Actor
from services.core.errors import InvalidState
from services.core.money import Money, UncheckedAmount
from services.core.party import Party
from services.database.job_queue import add_job_once
from services.messaging import outbox
from services.orders.base import mail_payload
from services.orders.contribution_decision import build_order, require_hosted
from services.orders.contributions import create_paid_order
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import order_sides
from services.orders.transitions import change_status
from services.recurring import gift_mails, progress
from services.round_trips import effects

CHARGE_JOB = "charge_card"
"""The name of the job that charges a card for a period of a gift."""


@dataclass(frozen=True)
class Charge:
    """A period of a gift that is due. Its sides and the gift are locked."""

    gift: RecurringGift
    payer: Party
    payee: Party
    method: PaymentMethod | None
    refused: Order | None
    """The order of the period, if a charge was refused before."""
    awaited: Order | None = None
    """The order of the period, if a payment provider is charging it."""


ChargeMethod = Callable[[AsyncSession, Actor, Charge], Awaitable[bool]]
"""Makes the order of the period, PAID or PENDING, or raises the problem for which it is refused.

False if the period goes on: a payment provider's word decides it.
"""


def build_gift_order(server: Actor, charge: Charge, *, order_id: UUID | None = None) -> Order:
    """Build the order of a gift's present period, with the present fees."""
    gift = charge.gift
    amount = Money(gift.amount_minor, gift.currency)
    order = build_order(
        server,
        OrderType.DONATION,
        charge.payer,
        charge.payee,
        UncheckedAmount(amount.value, amount.currency),
        order_id=order_id or new_id(),
        description=gift.description,
    )
    order.tip, order.is_incognito = gift.tip_minor, gift.is_incognito
    progress.bind(order, gift)
    return order


async def pay_from_balance(session: AsyncSession, server: Actor, charge: Charge) -> bool:
    """Pay the period from the payer's balance. Locks: ledger accounts."""
    require_hosted(charge.payer, "from", charge.gift.currency)
    if charge.refused is None:
        order = build_gift_order(server, charge)
        await create_paid_order(session, server, order, (charge.payer, charge.payee), method=charge.method)
        return True
    order = charge.refused
    await _take_up(session, server, charge, order, OrderStatus.PAID)
    sides = order_sides(
        order, charge.payer, charge.payee, platform_id=server.platform_id, payment_method=charge.method
    )
    await post_order(session, server, sides, TransactionKind(order.type))
    await record_payment_effects(session, server, sides)
    return True


async def ask_for_transfer(session: AsyncSession, server: Actor, charge: Charge) -> bool:
    """Ask the payer for a bank transfer, which the payee's host approves on receipt."""
    order = charge.refused
    if order is None:
        order = build_gift_order(server, charge)
        await insert_order(session, order, [creation_step(order)])
    else:
        await _take_up(session, server, charge, order, OrderStatus.PENDING)
    await gift_mails.ask_for_transfer(session, charge.gift, order, payee=charge.payee)
    assert charge.payee.host is not None
    await outbox.mail_admins(
        session,
        collective_ids=[charge.payee.host.id],
        template="donation_expected",
        payload=mail_payload(order, to=charge.payee),
        order_id=order.id,
    )
    return True


async def ask_for_card(session: AsyncSession, server: Actor, charge: Charge) -> bool:
    """Store the order of the period and its payment, and queue the job that charges the card.

    A payment that was given up, or is of another host's account, cannot be taken up: its period is left out.

    Raises:
        InvalidState: the host's account takes no payments now.
    """
    gift, order = charge.gift, charge.refused
    assert charge.method is not None and charge.method.provider_account_id is not None
    account = await session.get_one(ProviderAccount, charge.method.provider_account_id)
    if account.status != ProviderAccountStatus.ACTIVE:
        raise InvalidState("The host's payment provider takes no payments now.", field="paymentMethod")
    payment = None if order is None else await session.get(ProviderPayment, order.id, populate_existing=True)
    if payment is not None and (
        payment.status != ProviderPaymentStatus.OPEN or payment.provider_account_id != account.id
    ):
        day = gift.next_charge_on
        await gift_mails.tell(session, gift, template="gift_skipped", to_ids=[gift.from_id], day=day)
        return True
    if order is None:
        order = build_gift_order(server, charge)
        await insert_order(session, order, [creation_step(order)])
    else:
        await _take_up(session, server, charge, order, OrderStatus.PENDING)
    await effects.flush(session)
    if payment is None:
        session.add(
            ProviderPayment(
                order_id=order.id,
                provider_account_id=account.id,
                status=ProviderPaymentStatus.OPEN,
            )
        )
    await ask_again(session, order)
    return False


async def ask_again(session: AsyncSession, order: Order) -> None:
    """Queue the job that charges a card for an order. However many there are, it is charged once."""
    await session.flush()
    await add_job_once(session, name=CHARGE_JOB, arguments={"order_id": str(order.id)})


async def _take_up(
    session: AsyncSession, server: Actor, charge: Charge, order: Order, to_status: OrderStatus
) -> None:
    """Take up a refused order again with its terms, in the way in which the gift is paid now."""
    columns = progress.payment_columns(charge.gift)
    await change_status(session, order, from_status=OrderStatus.FAILED, to_status=to_status, **columns)
    if to_status is OrderStatus.PAID:
        step = history_step(order, OrderActionType.PAY, server, from_status=OrderStatus.FAILED)
        await add_actions(session, [step])


CHARGE_METHODS: dict[PaymentMethodKind, ChargeMethod] = {
    PaymentMethodKind.BALANCE: pay_from_balance,
    PaymentMethodKind.MANUAL: ask_for_transfer,
    PaymentMethodKind.PROVIDER: ask_for_card,
}
