"""Settling orders: the posting to the ledger, and the effects of a payment."""

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models.enums import (
    CollectiveType,
    FeesPayer,
    MemberRole,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.collectives import members
from services.core.errors import Problem
from services.core.money import allocate, convert
from services.ledger import clearing, exchange_rates, posting, transaction_amounts
from services.ledger.legs import posting_legs
from services.ledger.transaction_amounts import FeeTerms, TransactionAmounts
from services.messaging import outbox
from services.orders import guest_receipts, tier_choices, tips
from services.orders.base import mail_payload
from services.orders.sides import OrderSides
from services.providers.protocol import Settled


@dataclass(frozen=True)
class OrderFigures:
    """The figures of an order's transaction, and of that of a tip beside it."""

    own: TransactionAmounts
    tip: TransactionAmounts | None = None


async def post_order(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    kind: TransactionKind,
    *,
    payout_fee_minor: int = 0,
    release: bool = False,
    transaction_id: UUID | None = None,
    settled: Settled | None = None,
) -> None:
    """Post the transaction of an order: its approved amount, at the present rates or its provider's.

    A tip is a transaction of its own in the same group. Locks: the ledger accounts.

    Raises:
        AmountTooSmall, FxRateUnavailable: the amount, or its exchange.
        LimitExceeded: the payer's host would owe the payee's host more than that allows.
        InsufficientFunds and others: from the database.
    """
    order, payer, payee = sides.order, sides.payer, sides.payee
    platform_id = actor.platform_id
    assert platform_id is not None
    figures = await compute_figures(
        session, sides, platform_id=platform_id, payout_fee_minor=payout_fee_minor, settled=settled
    )

    def explain(error: DBAPIError) -> Problem | None:
        return clearing.explain_limit(error, debtor=payer.host, creditor=payee.host)

    row = posting.transaction_row(
        figures.own, payer, payee, kind=kind, order=order, transaction_id=transaction_id
    )
    legs = posting_legs(figures.own, payer, payee, platform_id=platform_id)
    tip = None
    if figures.tip is not None:
        tip = tips.build_posting(figures.tip, sides, platform_id=platform_id, group_id=row["group_id"])
        await posting.lock_accounts(session, [*legs, *tip[1]])
    release_id = order.id if release else None
    await posting.post(session, row=row, legs=legs, release_order_id=release_id, explain=explain)
    if tip is not None:
        await posting.post(session, row=tip[0], legs=tip[1], explain=explain)


async def compute_figures(
    session: AsyncSession,
    sides: OrderSides,
    *,
    platform_id: UUID,
    payout_fee_minor: int = 0,
    settled: Settled | None = None,
) -> OrderFigures:
    """Compute the figures of an order's transactions at the present rates; quotes and postings share them.

    What a payment provider `settled` in the host's currency counts instead of the method's terms and our
    rate.

    Raises:
        AmountTooSmall, FxRateUnavailable: the amount, or its exchange.
    """
    order, payer, payee = sides.order, sides.payer, sides.payee
    terms = transaction_amounts.applicable_fees(
        _terms_of(sides, payout_fee_minor), payer, payee, platform_id=platform_id
    )
    amount_minor = order.approved_amount or order.amount
    pairs = transaction_amounts.required_rates(order.currency, payer, payee)
    both_minor = None
    if settled is not None and payee.host is not None and settled.currency == payee.host.currency:
        terms = replace(terms, processor_bps=0, processor_fixed_minor=settled.fee_minor)
        both_minor = allocate(settled.gross_minor, [amount_minor, order.tip or 0])
        quotes = {pairs[0]: exchange_rates.quote_of_amounts(pairs[0], amount_minor, both_minor[0])}
    else:
        quotes = await exchange_rates.load_quotes(session, pairs)
    tip = None
    if order.tip is not None:
        if both_minor is None or order.currency == pairs[0][1]:
            codes = {"source": order.currency, "target": pairs[0][1]}
            both_minor = [convert(each, quotes[pairs[0]].rate, **codes) for each in (amount_minor, order.tip)]
        terms, tip_terms = tips.split_fee(
            terms, gift_gross_minor=both_minor[0], tip_gross_minor=both_minor[1]
        )
        tip = tips.compute_tip(
            sides, platform_id=platform_id, gross_minor=both_minor[1], terms=tip_terms, quotes=quotes
        )
    own = transaction_amounts.compute_amounts(
        amount_minor, order.currency, payer, payee, terms=terms, quotes=quotes
    )
    return OrderFigures(own, tip)


def _terms_of(sides: OrderSides, payout_fee_minor: int) -> FeeTerms:
    order, method = sides.order, sides.payment_method
    return FeeTerms(
        processor_bps=method.fee_bps if method else 0,
        processor_fixed_minor=method.fee_fixed_minor if method else 0,
        platform_bps=order.platform_fee_bps,
        host_bps=order.host_fee_bps or 0,
        payout_fee_minor=payout_fee_minor,
        fees_payer=FeesPayer(order.fees_payer or FeesPayer.PAYER),
    )


async def record_payment_effects(session: AsyncSession, actor: Actor, sides: OrderSides) -> None:
    """Record the effects of a payment: the BACKER of a donation, and mails to both sides.

    A user who donates gets a receipt even if they paid the order themselves.
    """
    order, payer = sides.order, sides.payer
    if order.type == OrderType.DONATION and order.claimed_giver_id is not None:
        await guest_receipts.send(session, order, payee=sides.payee)
    if order.type == OrderType.DONATION and payer.collective is not None:
        if not order.is_incognito:  # the list of backers is public
            await members.add(session, order.to_id, payer.collective.id, MemberRole.BACKER)
        await tier_choices.register_holder(session, order)
        if payer.collective.type == CollectiveType.USER:
            await outbox.mail_users(
                session,
                user_ids=[payer.collective.id],
                template="donation_confirmation",
                payload=mail_payload(order, to=sides.payee),
                order_id=order.id,
            )
    await outbox.mail_admins(
        session,
        collective_ids=[order.to_id],
        template="money_received",
        payload=mail_payload(order, to=sides.payee),
        order_id=order.id,
        except_id=actor.id,
    )
