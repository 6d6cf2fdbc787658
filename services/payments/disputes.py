"""Disputes: a giver's bank wants the money of a payment back.

While it decides, the amount and the provider's fee are set aside on the payee's balance, and what that lacks
on its host's own. If neither suffices, that is noted and nothing is set aside or posted.
"""

from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Order, ProviderPayment, new_id, now
from models.enums import DisputeStatus, LedgerAccountKind, OrderActionType, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.core.money import convert, convert_back
from services.core.party import OUTSIDE, Party
from services.ledger import posting, transaction_amounts
from services.ledger.exchange_rates import quote_of_rate
from services.ledger.legs import Leg, merge_legs, posting_legs
from services.ledger.transaction_amounts import FeeTerms, same_currency_amounts
from services.messaging import outbox
from services.orders import provider_refunds, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.refund_postings import Refundable, give_back, load_refundable
from services.orders.sides import OrderSides
from services.providers.protocol import EventKind, ProviderEvent

REASON = "DISPUTE"
"""The reason of the refund that a lost dispute is."""
NOT_COVERED = "Neither the payee nor its host has enough for the dispute."


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
        payment.is_dispute_posted = await _post_loss(session, actor, sides, payment)
        return None if payment.is_dispute_posted else NOT_COVERED
    return None if payment.is_dispute_held else NOT_COVERED


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
    refundable = await load_refundable(session, sides)
    payee, original = refundable.parties[1], refundable.original
    assert payee.host is not None and payee.collective is not None
    host, codes = payee.host, {"source": payee.currency, "target": payee.host.currency}
    wanted_minor = refundable.remaining["amount"] + convert_back(fee_minor, original.fx_rate, **codes)
    own_minor, host_minor = await _available(session, payee)
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


async def _available(session: AsyncSession, payee: Party) -> tuple[int, int]:
    """Return what payee and host have available in the host's book. Locks: all accounts of a refund."""
    host, own = payee.host, payee.collective
    assert host is not None and own is not None
    kinds = LedgerAccountKind
    legs = [
        Leg(host.id, own.id, payee.currency, kinds.BALANCE, 1),
        Leg(host.id, host.id, host.currency, kinds.BALANCE, 1),
        Leg(host.id, host.id, host.currency, kinds.CASH, 1),
    ]
    if payee.currency != host.currency:
        legs += [Leg(host.id, host.id, code, kinds.EXCHANGE, 1) for code in (payee.currency, host.currency)]
    await posting.lock_accounts(session, merge_legs(legs))
    available = []
    for owner, currency in ((own, payee.currency), (host, host.currency)):
        statement = select(col(LedgerAccount.posted) - col(LedgerAccount.held)).where(
            col(LedgerAccount.book_id) == host.id,
            col(LedgerAccount.owner_id) == owner.id,
            col(LedgerAccount.currency) == currency,
            col(LedgerAccount.kind) == kinds.BALANCE,
        )
        available.append(max(0, (await session.execute(statement)).scalar_one_or_none() or 0))
    return available[0], available[1]


async def _post_loss(
    session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment
) -> bool:
    """Post a lost dispute; False, with nothing posted, if the two balances do not have it."""
    with suppress(IntegrityError):
        async with session.begin_nested():
            await posting.release_hold(session, order_id=sides.order.id)
            if sides.order.status == OrderStatus.PAID:
                await _give_back(session, actor, sides, await load_refundable(session, sides))
            await _post_fee(session, sides, payment.dispute_fee_minor or 0)
        return True
    return False


async def _give_back(session: AsyncSession, actor: Actor, sides: OrderSides, refundable: Refundable) -> None:
    """Refund what remains of a disputed payment; the host adds what the payee's balance lacks."""
    part_minor, payee = refundable.remaining["amount"], refundable.parties[1]
    own_minor, _ = await _available(session, payee)
    lacking_minor = refundable.split(part_minor).to_collective_amount_minor - own_minor
    if lacking_minor > 0:
        await _post_cover(session, actor, sides.order, refundable, lacking_minor)
    await give_back(session, actor, sides, refundable, part_minor, refund_id=new_id(), reason=REASON)


async def _post_cover(
    session: AsyncSession, actor: Actor, order: Order, refundable: Refundable, amount_minor: int
) -> None:
    """Move what the payee lacks from its host's own balance to it."""
    payee, original = refundable.parties[1], refundable.original
    host: Collective | None = payee.host
    assert host is not None and actor.platform_id is not None
    payer = Party(host, host)
    pairs = transaction_amounts.required_rates(payee.currency, payer, payee)
    amounts = transaction_amounts.compute_amounts(
        amount_minor,
        payee.currency,
        payer,
        payee,
        terms=FeeTerms(),
        quotes={pair: quote_of_rate(pair, original.fx_rate, original.fx_rate_id) for pair in pairs},
    )
    row = posting.transaction_row(amounts, payer, payee, kind=TransactionKind.DISPUTE_COVER, order=order)
    await posting.post(
        session, row=row, legs=posting_legs(amounts, payer, payee, platform_id=actor.platform_id)
    )


async def _post_fee(session: AsyncSession, sides: OrderSides, fee_minor: int) -> None:
    """Let the host pay the provider's fee of a lost dispute."""
    host = sides.payee.host
    if host is None or not fee_minor:
        return
    row = posting.transaction_row(
        same_currency_amounts(fee_minor, host.currency),
        Party(host, host),
        OUTSIDE,
        kind=TransactionKind.DISPUTE_FEE,
        order=sides.order,
    )
    legs = merge_legs(
        [
            Leg(host.id, host.id, host.currency, LedgerAccountKind.BALANCE, -fee_minor),
            Leg(host.id, host.id, host.currency, LedgerAccountKind.CASH, fee_minor),
        ]
    )
    await posting.post(session, row=row, legs=legs)
