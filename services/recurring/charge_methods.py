"""One table of how each kind of payment method is charged for a period of a recurring gift."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PaymentMethod, RecurringGift, new_id
from models.enums import OrderActionType, OrderStatus, OrderType, PaymentMethodKind, TransactionKind
from services.access.actor import Actor
from services.core import public_ids
from services.core.money import Money, UncheckedAmount
from services.core.party import Party
from services.messaging import outbox
from services.orders.base import mail_payload
from services.orders.contributions import build_order, create_paid_order, require_hosted
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import order_sides
from services.orders.transitions import change_status
from services.recurring import gift_mails, progress


@dataclass(frozen=True)
class Charge:
    """A period of a gift that is due. Its sides and the gift are locked."""

    gift: RecurringGift
    payer: Party
    payee: Party
    method: PaymentMethod | None
    refused: Order | None
    """The order of the period, if a charge was refused before."""

    @property
    def key(self) -> str:
        """Key under which a payment provider is asked for this period, however often."""
        return f"sub:{public_ids.encode('RecurringGift', self.gift.id)}:{self.gift.next_charge_on}"


ChargeMethod = Callable[[AsyncSession, Actor, Charge], Awaitable[None]]
"""Makes the order of the period, PAID or PENDING, or raises the problem for which it is refused."""


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
    order.tip = gift.tip_minor
    progress.bind(order, gift)
    return order


async def pay_from_balance(session: AsyncSession, server: Actor, charge: Charge) -> None:
    """Pay the period from the payer's balance. Locks: ledger accounts."""
    require_hosted(charge.payer, "from", charge.gift.currency)
    if charge.refused is None:
        order = build_gift_order(server, charge)
        await create_paid_order(session, server, order, (charge.payer, charge.payee), method=charge.method)
        return
    order = charge.refused
    await _take_up(session, server, charge, order, OrderStatus.PAID)
    sides = order_sides(
        order, charge.payer, charge.payee, platform_id=server.platform_id, payment_method=charge.method
    )
    await post_order(session, server, sides, TransactionKind(order.type))
    await record_payment_effects(session, server, sides)


async def ask_for_transfer(session: AsyncSession, server: Actor, charge: Charge) -> None:
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
}
