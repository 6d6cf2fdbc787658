"""Disputes: a giver's bank wants the money of a payment back.

While it decides, the amount and the provider's fee are set aside on the payee's balance, and what that lacks
on its host's own. If neither suffices, that is noted and nothing is set aside or posted.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from models import ProviderPayment, now
from models.enums import DisputeStatus, OrderActionType, OrderStatus
from services.access.actor import Actor
from services.core.errors import InvalidState
from services.core.money import convert, convert_back
from services.ledger import posting
from services.messaging import outbox
from services.orders import provider_refunds, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.refundable import load_refundable
from services.orders.sides import OrderSides
from services.payments import losses
from services.providers.protocol import EventKind, ProviderEvent


async def note_dispute(
    session: AsyncSession, actor: Actor, payment: ProviderPayment, event: ProviderEvent
) -> str | None:
    """Do what a provider tells of a dispute; return what is left to do by hand. Locks: ledger accounts."""
    if payment.dispute_id not in {None, event.dispute}:
        return "The payment was disputed before."
    if payment.dispute_status not in {None, DisputeStatus.OPEN}:
        return None
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    if payment.dispute_status is None:
        await _open(session, actor, sides, payment, event)
    if event.kind is EventKind.DISPUTE_WON:
        await posting.release_hold(session, order_id=payment.order_id)
        await _decide(session, actor, sides, payment, DisputeStatus.WON)
    elif event.kind is EventKind.DISPUTE_LOST:
        await _decide(session, actor, sides, payment, DisputeStatus.LOST)
        payment.is_dispute_posted = await losses.post(session, actor, sides, payment)
        return None if payment.is_dispute_posted else losses.NOT_COVERED
    return None if payment.is_dispute_held else losses.NOT_COVERED


async def _open(
    session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment, event: ProviderEvent
) -> None:
    """Note a dispute, set its amount and fee aside, and tell the host."""
    payment.dispute_id, payment.dispute_status = event.dispute, DisputeStatus.OPEN
    payment.dispute_fee_minor, payment.updated_at = event.dispute_fee_minor, now()
    is_refunding = await provider_refunds.lock_open(session, order_id=payment.order_id) is not None
    payment.is_dispute_held = not is_refunding and await _hold(session, sides, event.dispute_fee_minor)
    await session.flush()
    await _record(session, actor, sides, OrderActionType.DISPUTE, reason=None)
    if sides.payee.host is not None:
        await outbox.mail_admins(
            session,
            collective_ids=[sides.payee.host.id],
            template="payment_disputed",
            payload=mail_payload(sides.order, to=sides.payee),
            order_id=sides.order.id,
        )


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


async def _hold(session: AsyncSession, sides: OrderSides, fee_minor: int) -> bool:
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
    wanted_minor = refundable.remaining["amount"] + convert_back(fee_minor, original.fx_rate, **codes)
    own_minor, host_minor = await losses.available(session, payee)
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
