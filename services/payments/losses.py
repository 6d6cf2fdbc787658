"""What leaves a host without its consent: lost disputes, and refunds made at the provider.

What the one balance lacks, the other covers: the payee's or its host's own.
"""

from contextlib import suppress
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import LedgerAccount, Order, ProviderPayment, ProviderRefund, new_id
from models.enums import LedgerAccountKind, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.core.errors import InvalidState
from services.core.money import convert, convert_back
from services.core.party import OUTSIDE, Party
from services.ledger import posting, transaction_amounts
from services.ledger.exchange_rates import quote_of_inverse, quote_of_rate
from services.ledger.legs import Leg, merge_legs, posting_legs
from services.ledger.transaction_amounts import FeeTerms, same_currency_amounts
from services.orders import provider_refunds, transitions
from services.orders.base import charged_minor
from services.orders.refund_postings import give_back
from services.orders.refundable import Refundable, load_refundable
from services.orders.sides import OrderSides

REASON = "DISPUTE"
"""The reason of the refund that a lost dispute is."""
NOT_COVERED = "Neither the payee nor its host has enough."


async def post_refund(session: AsyncSession, actor: Actor, refund: ProviderRefund) -> str | None:
    """Post a confirmed refund; return why that could not be done, with nothing posted.

    Once the provider has given back all that was charged, the rest of the order goes with it: also parts
    that were too small to be posted in the currency of the tip. If there is not enough for the rest, its own
    part alone is posted.

    Locks: the hold, then its account, the order, both sides, all accounts.
    """
    given_minor = await provider_refunds.sum_confirmed(session, order_id=refund.order_id)
    order = await session.get_one(Order, refund.order_id)
    if given_minor < charged_minor(order):
        return await _post_part(session, actor, refund, is_last=False)
    problem = await _post_part(session, actor, refund, is_last=True)
    return await _post_part(session, actor, refund, is_last=False) if problem == NOT_COVERED else problem


async def _post_part(
    session: AsyncSession, actor: Actor, refund: ProviderRefund, *, is_last: bool
) -> str | None:
    try:
        async with session.begin_nested():
            if refund.requested_by_id is not None:  # made here, where money was set aside for it
                await posting.release_hold(session, order_id=refund.order_id)
            sides = await transitions.load_for_server(session, actor, order_id=refund.order_id)
            refundable = await load_refundable(session, sides, is_told=True)
            rest_minor = refundable.total_minor
            part_minor = rest_minor if is_last else min(refund.amount_minor, rest_minor)
            await take_back(
                session, actor, sides, refundable, part_minor, refund_id=refund.id, reason=refund.reason
            )
    except InvalidState as refused:
        return refused.message
    except IntegrityError:
        return NOT_COVERED
    return None


async def post(session: AsyncSession, actor: Actor, sides: OrderSides, payment: ProviderPayment) -> bool:
    """Post a lost dispute; False, with nothing posted, if the two balances do not have it.

    Locks: the hold, then its accounts, the order, both sides, all accounts.
    """
    fee_minor = payment.dispute_fee_minor or 0
    with suppress(IntegrityError, InvalidState):
        async with session.begin_nested():
            await posting.release_hold(session, order_id=sides.order.id)
            if sides.order.status == OrderStatus.PAID:
                refundable = await load_refundable(session, sides, is_told=True)
                part_minor = disputed_part(payment, refundable)
                await _lend_to_host(session, actor, sides.order, refundable, part_minor, fee_minor)
                await take_back(
                    session,
                    actor,
                    sides,
                    refundable,
                    part_minor,
                    refund_id=new_id(),
                    reason=REASON,
                )
            await _post_fee(session, sides, fee_minor)
        return True
    return False


def disputed_part(payment: ProviderPayment, refundable: Refundable) -> int:
    """Return what a dispute takes of what is left of a payment. Units: minor, of the order's currency."""
    return min(payment.dispute_amount_minor or refundable.total_minor, refundable.total_minor)


async def take_back(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    refundable: Refundable,
    part_minor: int,
    *,
    refund_id: UUID,
    reason: str | None,
) -> None:
    """Refund a part that has left the host already; the host adds what the payee's balance lacks.

    Raises:
        InsufficientFunds: from the database, if neither has it.
    """
    payee = refundable.parties[1]
    own_minor, _ = await available(session, payee, platform_id=actor.platform_id)
    lacking_minor = refundable.payee_minor(part_minor) - own_minor
    if lacking_minor > 0:
        assert payee.host is not None
        await _cover(session, actor, sides.order, refundable, lacking_minor, to_host=False)
    await give_back(session, actor, sides, refundable, part_minor, refund_id=refund_id, reason=reason)


async def _lend_to_host(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    refundable: Refundable,
    disputed_minor: int,
    fee_minor: int,
) -> None:
    """Move to the host what its own balance lacks for fees, of what a dispute sets aside on the payee's."""
    payee = refundable.parties[1]
    host, own = payee.host, payee.collective
    assert host is not None and own is not None and actor.platform_id is not None
    if own.id == host.id or not refundable.own_part(disputed_minor):
        return
    amounts, rate = refundable.split(disputed_minor), refundable.original.fx_rate
    codes = {"source": payee.currency, "target": host.currency}
    own_minor, host_minor = await available(session, payee, platform_id=actor.platform_id)
    needed_minor = amounts.payment_processor_fee_minor + fee_minor
    if refundable.tip is not None and disputed_minor > refundable.remaining["amount"]:
        needed_minor += refundable.tip.remaining["payment_processor_fee"]
    for leg in posting_legs(amounts, *refundable.parties, platform_id=actor.platform_id):
        if leg.kind == LedgerAccountKind.BALANCE and leg.owner_id == host.id:
            needed_minor += leg.amount_minor
    lacking_minor = needed_minor - host_minor
    if lacking_minor <= 0:
        return
    held_minor = refundable.own_part(disputed_minor) + convert_back(fee_minor, rate, **codes)
    set_aside_minor = min(own_minor, held_minor)
    spare_minor = set_aside_minor - amounts.to_collective_amount_minor
    part_minor = min(lacking_minor, convert(max(0, spare_minor), rate, **codes))
    if part_minor > 0:
        await _cover(session, actor, order, refundable, part_minor, to_host=True)


async def available(session: AsyncSession, payee: Party, *, platform_id: UUID | None) -> tuple[int, int]:
    """Return what payee and host have available in the host's book. Locks: all accounts of a refund."""
    host, own = payee.host, payee.collective
    assert host is not None and own is not None and platform_id is not None
    kinds = LedgerAccountKind
    legs = [
        Leg(host.id, own.id, payee.currency, kinds.BALANCE, 1),
        Leg(host.id, host.id, host.currency, kinds.BALANCE, 1),
        Leg(host.id, host.id, host.currency, kinds.CASH, 1),
        Leg(host.id, platform_id, host.currency, kinds.BALANCE, 1),
    ]
    if payee.currency != host.currency:
        legs += [Leg(host.id, host.id, code, kinds.EXCHANGE, 1) for code in (payee.currency, host.currency)]
    await posting.lock_accounts(session, merge_legs(legs))
    found = []
    for owner, currency in ((own, payee.currency), (host, host.currency)):
        statement = select(col(LedgerAccount.posted) - col(LedgerAccount.held)).where(
            col(LedgerAccount.book_id) == host.id,
            col(LedgerAccount.owner_id) == owner.id,
            col(LedgerAccount.currency) == currency,
            col(LedgerAccount.kind) == kinds.BALANCE,
        )
        found.append(max(0, (await session.execute(statement)).scalar_one_or_none() or 0))
    return found[0], found[1]


async def _cover(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    refundable: Refundable,
    amount_minor: int,
    *,
    to_host: bool,
) -> None:
    """Move between the payee and its host's own balance what one of them lacks, at the rate of the gift.

    Units: minor, of the currency of the one that receives it.
    """
    side, original = refundable.parties[1], refundable.original
    assert side.host is not None and actor.platform_id is not None
    own = Party(side.host, side.host)
    payer, payee = (side, own) if to_host else (own, side)
    pairs = transaction_amounts.required_rates(payee.currency, payer, payee)
    quote = quote_of_inverse if to_host else quote_of_rate
    amounts = transaction_amounts.compute_amounts(
        amount_minor,
        payee.currency,
        payer,
        payee,
        terms=FeeTerms(),
        quotes={pair: quote(pair, original.fx_rate, original.fx_rate_id) for pair in pairs},
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
