"""What became of a payment by its provider's word, told by an event or answered: each is done once.

Locks: the payment, both sides of its recurring gift and the gift, and then the order.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, ProviderAccount, ProviderPayment, RecurringGift, new_id, now
from models.enums import OrderActionType, OrderStatus, ProviderPaymentStatus, TransactionKind
from services.access.actor import Actor
from services.orders import provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.history import add_actions, history_step
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import OrderSides
from services.payments import endings, instruments
from services.providers.protocol import KeptInstrument, Settled
from services.recurring import card_charges, refusals

DECLINED = "The card was refused."


async def succeed(
    session: AsyncSession,
    actor: Actor,
    payment: ProviderPayment,
    *,
    settled: Settled | None,
    instrument: KeptInstrument | None,
) -> str | None:
    """Pay the order of a collected payment; what came for a closed order goes back. Return why, if so."""
    if payment.status == ProviderPaymentStatus.SUCCEEDED:
        return None
    gift = await card_charges.lock_gift(session, order_id=payment.order_id)
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    order = sides.order
    payment.status, payment.updated_at = ProviderPaymentStatus.SUCCEEDED, now()
    payment.client_secret = payment.redirect_url = payment.asked_at = None
    payment.instrument_id = await instruments.keep(session, order, payment, instrument)
    await session.flush()
    problem = await _why_not_payable(session, sides, payment, gift)
    if problem is not None:
        await provider_refunds.add(
            session,
            order_id=payment.order_id,
            refund_id=new_id(),
            amount_minor=charged_minor(order),
            reason=problem,
            is_stray=True,
        )
        await endings.close_order(
            session, actor, sides, gift, ProviderPaymentStatus.CANCELLED, reason=problem
        )
        return problem
    before = OrderStatus(order.status)
    step = history_step(order, OrderActionType.PAY, actor, from_status=before, to_status=OrderStatus.PAID)
    await transitions.change_status(session, order, from_status=before, to_status=OrderStatus.PAID)
    await add_actions(session, [step])
    await post_order(session, actor, sides, TransactionKind.DONATION, settled=settled)
    await record_payment_effects(session, actor, sides)
    if gift is not None:
        await card_charges.note_paid(session, gift, order, instrument_id=payment.instrument_id)
    return None


async def _why_not_payable(
    session: AsyncSession, sides: OrderSides, payment: ProviderPayment, gift: RecurringGift | None
) -> str | None:
    """Return why the money of a payment goes back to its giver, if it does."""
    order, host = sides.order, sides.payee.host
    # What was refused for a recurring gift is paid by its giver until the gift goes on without it.
    is_refused = order.status == OrderStatus.FAILED and card_charges.is_due_period(gift, order)
    if order.status != OrderStatus.PENDING and not is_refused:
        return f"The order was {order.status} when the money came."
    account = await session.get_one(ProviderAccount, payment.provider_account_id)
    if host is None or host.id != account.host_id:
        return "The payee has left the host that collected the money."
    if host.host_suspended_at is not None:
        return "The host was suspended when the money came."
    return None


async def refuse(
    session: AsyncSession,
    actor: Actor,
    payment: ProviderPayment,
    *,
    failure: str | None,
    is_step: bool = False,
) -> None:
    """Note that an attempt was refused. The giver may try again, unless a bank had taken its time over it.

    The order of a period that was charged without the giver has failed, until it is charged again.
    """
    if payment.status not in {ProviderPaymentStatus.OPEN, ProviderPaymentStatus.PROCESSING}:
        return
    gift = await card_charges.lock_gift(session, order_id=payment.order_id)
    sides = await transitions.load_for_server(session, actor, order_id=payment.order_id)
    order = sides.order
    if gift is not None and card_charges.is_due_period(gift, order):
        was_asked = payment.asked_at is not None or payment.status == ProviderPaymentStatus.PROCESSING
        payment.status, payment.failure = ProviderPaymentStatus.OPEN, failure or DECLINED
        payment.asked_at, payment.updated_at = None, now()
        await session.flush()
        if order.status == OrderStatus.PENDING and was_asked:
            await card_charges.note_refused(
                session, actor, gift, order, reason=failure or DECLINED, is_step=is_step
            )
    elif payment.status == ProviderPaymentStatus.PROCESSING:
        await endings.end(session, actor, payment, ProviderPaymentStatus.FAILED, failure=failure)
    else:
        payment.failure, payment.updated_at = failure, now()


async def delay(session: AsyncSession, payment: ProviderPayment) -> None:
    """Try a locked payment again some hours later: what keeps it from being charged is not its giver."""
    gift = await card_charges.lock_gift(session, order_id=payment.order_id)
    order = await session.get_one(Order, payment.order_id, populate_existing=True)
    if payment.status != ProviderPaymentStatus.OPEN or gift is None:
        return
    payment.asked_at, payment.updated_at = None, now()
    if card_charges.is_due_period(gift, order):
        await refusals.delay(session, gift, at=now())


def note_processing(payment: ProviderPayment) -> None:
    """Note that the giver has done their part, and the bank has not."""
    if payment.status == ProviderPaymentStatus.OPEN:
        payment.status, payment.updated_at = ProviderPaymentStatus.PROCESSING, now()
