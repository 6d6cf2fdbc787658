"""Tips to the platform that come with gifts: what may be given, and its figures."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from models import Collective, Order
from models.enums import CollectiveType, TransactionKind
from services.access.collective_refs import require_collective
from services.core.errors import AmountTooSmall, Invalid
from services.core.money import UncheckedAmount, allocate, apply_bps, convert, to_minor_or_zero
from services.core.party import Party
from services.ledger import posting
from services.ledger.exchange_rates import Quote, identity_quote, quote_of_amounts
from services.ledger.legs import Leg, posting_legs
from services.ledger.transaction_amounts import (
    CURRENTS,
    FeeTerms,
    TransactionAmounts,
    compute_amounts,
)
from services.orders.sides import OrderSides
from services.round_trips.records import new_record

FIELD = "platformTip"


def add(order: Order, tip: UncheckedAmount | None, parties: tuple[Party, Party]) -> None:
    """Put a tip beside the amount of a gift, unless there is none.

    Raises:
        Invalid: another currency, more than the gift, currents, or a gift by or to the platform.
    """
    if tip is None:
        return
    if order.currency == CURRENTS:
        raise Invalid("Currents are given without a tip. Leave it out.", field=FIELD)
    tip_minor = to_minor_or_zero(tip, field=FIELD, currency=order.currency)
    if tip_minor and any(require_collective(party).is_platform for party in parties):
        raise Invalid("A gift by or to the platform has no tip. Leave it out.", field=FIELD)
    order.tip = require_at_most(tip_minor, order.amount)


def require_at_most(tip_minor: int | None, amount_minor: int) -> int | None:
    """Require a tip that is at most as large as its gift; zero is none.

    Raises:
        Invalid: it is larger.
    """
    if tip_minor is not None and tip_minor > amount_minor:
        raise Invalid("A tip is at most as large as the gift. Enter a smaller one.", field=FIELD)
    return tip_minor or None


def receiver(platform_id: UUID, host: Collective) -> Party:
    """Return the platform as the owner of its balance in a host's book."""
    platform = new_record(
        Collective, id=platform_id, slug="", type=CollectiveType.NONPROFIT, name="", currency=host.currency
    )
    return Party(platform, host, host.currency)


def build_posting(
    amounts: TransactionAmounts, sides: OrderSides, *, platform_id: UUID, group_id: UUID
) -> tuple[dict[str, Any], list[Leg]]:
    """Build the transaction of a tip in the group of its gift, and its legs, as `posting.post` takes them."""
    assert sides.payee.host is not None
    payee = receiver(platform_id, sides.payee.host)
    row = posting.transaction_row(
        amounts,
        sides.payer,
        payee,
        kind=TransactionKind.PLATFORM_TIP,
        order=sides.order,
        group_id=group_id,
    )
    return row, posting_legs(amounts, sides.payer, payee, platform_id=platform_id)


def split_fee(terms: FeeTerms, *, gift_gross_minor: int, tip_gross_minor: int) -> tuple[FeeTerms, FeeTerms]:
    """Return the terms of a gift and of its tip, which share the processor's fee of one charge.

    Each bears it in proportion to what it brings, by largest remainder; a tip bears no other fee.
    """
    fee_minor = apply_bps(gift_gross_minor + tip_gross_minor, terms.processor_bps)
    fee_minor += terms.processor_fixed_minor
    if gift_gross_minor <= 0 or tip_gross_minor <= 0:
        raise AmountTooSmall(field="amount" if gift_gross_minor <= 0 else FIELD)
    gift_minor, own_minor = allocate(fee_minor, [gift_gross_minor, tip_gross_minor])
    return (
        replace(terms, processor_bps=0, processor_fixed_minor=gift_minor),
        FeeTerms(processor_fixed_minor=own_minor),
    )


def compute_tip(
    sides: OrderSides,
    *,
    platform_id: UUID,
    gross_minor: int,
    terms: FeeTerms,
    quotes: dict[tuple[str, str], Quote],
) -> TransactionAmounts:
    """Compute the figures of a tip in the currency of the payee's host, of whose book its transaction is.

    `gross_minor` is what arrives there, and `quotes` are those of the gift: the payer gives exactly the tip.

    Raises:
        AmountTooSmall: nothing would be left of it, or a side would give nothing.
    """
    order, payer, host = sides.order, sides.payer, sides.payee.host
    assert order.tip is not None and host is not None
    own = host.currency
    own_quotes = {(own, own): identity_quote(own)}
    for (_, target), quote in quotes.items():
        given_minor = convert(order.tip, quote.rate, source=order.currency, target=target)
        own_quotes[own, target] = quote_of_amounts((own, target), gross_minor, given_minor)
    try:
        return compute_amounts(
            gross_minor, own, payer, receiver(platform_id, host), terms=terms, quotes=own_quotes
        )
    except AmountTooSmall as error:
        raise AmountTooSmall(field=FIELD) from error
