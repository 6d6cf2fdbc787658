"""Disputes: a giver's bank wants the money of a payment back.

While it decides, the amount and the provider's fee are set aside on the payee's balance, and what that lacks
on its host's own. If neither suffices, that is noted and nothing is set aside or posted.
"""

from contextlib import suppress

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, ProviderPayment, now
from models.enums import DisputeStatus, OrderActionType, OrderStatus
from services.access.actor import Actor
from services.core.errors import FxRateUnavailable, InsufficientFunds, InvalidState
from services.core.money import convert, convert_back
from services.ledger import posting
from services.ledger.exchange_rates import load_quotes
from services.orders import provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.history import add_actions, history_step
from services.orders.refundable import load_refundable
from services.orders.sides import OrderSides
from services.payments import losses
from services.payments.notices import tell_host
from services.providers.protocol import EventKind, ProviderEvent

CLOSED = "The order was closed when its payment was disputed: no more than the provider's fee is posted."
FEE_LATE = "The provider told its fee after the dispute was lost: the ledger does not show the fee."
NO_RATE = "There is no rate to the host's currency for the fee of the dispute, which is left out."


async def note_dispute(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Do what a provider tells of a dispute; return what is left to do by hand. Locks: ledger accounts."""
    if payment.dispute_id not in {None, event.dispute}:
        return "The payment was disputed before."
    if payment.dispute_status not in {None, DisputeStatus.OPEN}:
        return await _note_late_fee(session, actor, payment, event)
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    fee_minor = await _price_fee(session, sides, event)
    if payment.dispute_status is None:
        await _open(session, actor, sides, payment, event, fee_minor=fee_minor or 0)
    elif fee_minor and not payment.dispute_fee_minor:
        await _add_fee(session, actor, sides, payment, fee_minor)
    problem = NO_RATE if fee_minor is None else None
    if event.kind is EventKind.DISPUTE_WON:
        await posting.release_hold(session, order_id=payment.order_id)
        await _decide(session, actor, sides, payment, DisputeStatus.WON)
    elif event.kind is EventKind.DISPUTE_LOST:
        was_paid = sides.order.status == OrderStatus.PAID
        await _decide(session, actor, sides, payment, DisputeStatus.LOST)
        payment.is_dispute_posted = await losses.post(session, actor, sides, payment)
        if not payment.is_dispute_posted:
            return losses.NOT_COVERED
        return problem or (None if was_paid else CLOSED)
    elif not payment.is_dispute_held:
        return losses.NOT_COVERED if sides.order.status == OrderStatus.PAID else CLOSED
    return problem


async def _open(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    payment: ProviderPayment,
    event: ProviderEvent,
    *,
    fee_minor: int,
) -> None:
    """Note a dispute, set its amount and fee aside, and tell the host."""
    payment.dispute_id, payment.dispute_status = event.dispute, DisputeStatus.OPEN
    payment.dispute_amount_minor, payment.dispute_fee_minor = _amount_of(sides.order, event), fee_minor
    payment.updated_at = now()
    is_refunding = await provider_refunds.lock_open(session, order_id=payment.order_id) is not None
    payment.is_dispute_held = not is_refunding and await _hold(session, actor, sides, payment)
    await session.flush()
    await _record(session, actor, sides, OrderActionType.DISPUTE, reason=None)
    await tell_host(session, sides, template="payment_disputed")


def _amount_of(order: Order, event: ProviderEvent) -> int:
    """Return what a bank wants back of an order: all of it, unless a part is told in its currency."""
    if not event.amount_minor or event.amount_currency not in {None, order.currency}:
        return charged_minor(order)
    return min(event.amount_minor, charged_minor(order))


async def _price_fee(session: AsyncSession, sides: OrderSides, event: ProviderEvent) -> int | None:
    """Return the fee of a dispute in its host's currency; None without a rate."""
    host, currency = sides.payee.host, event.dispute_fee_currency
    if host is None or currency in {None, host.currency} or not event.dispute_fee_minor:
        return event.dispute_fee_minor
    pair = (currency, host.currency)
    try:
        quotes = await load_quotes(session, [pair])
    except FxRateUnavailable:
        return None
    return convert(event.dispute_fee_minor, quotes[pair].rate, source=currency, target=host.currency)


async def _add_fee(
    session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment, fee_minor: int
) -> None:
    """Note the fee of an open dispute, which was not known at first, and set it aside if it is there."""
    payment.dispute_fee_minor, payment.updated_at = fee_minor, now()
    await session.flush()
    if not payment.is_dispute_held:
        return
    with suppress(InsufficientFunds):  # then the amount alone stays set aside
        async with session.begin_nested():
            await posting.release_hold(session, order_id=payment.order_id)
            if not await _hold(session, actor, sides, payment):
                raise InsufficientFunds


async def _note_late_fee(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Note the fee of a lost dispute that waits to be posted; return what is left to do by hand."""
    if payment.dispute_status != DisputeStatus.LOST or payment.dispute_fee_minor:
        return None
    if payment.is_dispute_posted:
        return FEE_LATE if event.dispute_fee_minor else None
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    fee_minor = await _price_fee(session, sides, event)
    payment.dispute_fee_minor, payment.updated_at = fee_minor or 0, now()
    return NO_RATE if fee_minor is None else losses.NOT_COVERED


async def _decide(
    session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment, status: DisputeStatus
) -> None:
    payment.dispute_status, payment.updated_at = status, now()
    await session.flush()
    await _record(session, actor, sides, OrderActionType.DISPUTE_END, reason=status)


async def _record(
    session: AsyncSession, actor: Actor, sides: OrderSides, kind: OrderActionType, *, reason: str | None
) -> None:
    status = OrderStatus(sides.order.status)
    await add_actions(session, [history_step(sides.order, kind, actor, from_status=status, reason=reason)])


async def _hold(session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment) -> bool:
    """Set aside what a dispute may cost; False if the two balances do not have it. Locks: both."""
    if sides.order.status != OrderStatus.PAID:
        return False
    try:
        refundable = await load_refundable(session, sides, is_told=True)
    except InvalidState:  # the payee has left the host, or is archived
        return False
    payee, original = refundable.parties[1], refundable.original
    assert payee.host is not None and payee.collective is not None
    host, codes = payee.host, {"source": payee.currency, "target": payee.host.currency}
    fee_minor = convert_back(payment.dispute_fee_minor or 0, original.fx_rate, **codes)
    wanted_minor = refundable.own_part(losses.disputed_part(payment, refundable)) + fee_minor
    own_minor, host_minor = await losses.available(session, payee, platform_id=actor.platform_id)
    is_host = payee.collective.id == host.id
    payee_part_minor = min(own_minor, wanted_minor)
    host_part_minor = convert(wanted_minor - payee_part_minor, original.fx_rate, **codes)
    if host_part_minor > (0 if is_host else host_minor):
        return False
    parts = [(payee.collective, payee.currency, payee_part_minor), (host, host.currency, host_part_minor)]
    for owner, currency, part_minor in sorted(parts, key=lambda part: (part[0].id, part[1])):
        if part_minor > 0:
            await posting.place_hold(
                session,
                order_id=sides.order.id,
                book_id=host.id,
                owner_id=owner.id,
                currency=currency,
                amount_minor=part_minor,
            )
    return True
