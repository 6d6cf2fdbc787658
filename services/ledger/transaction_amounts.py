"""The amounts of a transaction on each side, with fees and exchange. Pure arithmetic.

Definitions: docs/ledger.md. Each amount is rounded once, half away from zero; the last part of a sum is
computed by subtraction, so that the parts add up to the whole.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from models import Collective
from models.enums import CollectiveType, FeesPayer
from services.core.errors import AmountTooSmall, Invalid
from services.core.money import MAX_MINOR, apply_bps, convert, convert_back
from services.core.party import Party
from services.ledger.exchange_rates import Quote
from services.round_trips.records import new_record

CURRENTS = "CUR"


@dataclass(frozen=True, kw_only=True)
class FeeTerms:
    """The fees taken from an amount."""

    processor_bps: int = 0
    processor_fixed_minor: int = 0
    """Minor units of the host's currency."""
    platform_bps: int = 0
    host_bps: int = 0
    payout_fee_minor: int = 0
    """A payout's fee in minor units of the paying host's currency."""
    fees_payer: FeesPayer = FeesPayer.PAYER


@dataclass(frozen=True, kw_only=True)
class TransactionAmounts:
    """All amounts of a transaction, in minor units; fees and gross are in `host_currency`."""

    currency: str
    amount_minor: int
    host_currency: str
    fx_rate: Decimal
    fx_rate_id: UUID | None
    gross_minor: int
    payment_processor_fee_minor: int
    platform_fee_minor: int
    host_fee_minor: int
    to_host_amount_minor: int
    to_collective_amount_minor: int
    from_host_currency: str | None = None
    from_host_fx_rate: Decimal | None = None
    from_host_amount_minor: int | None = None
    from_collective_currency: str | None = None
    from_collective_fx_rate: Decimal | None = None
    from_collective_amount_minor: int | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values by column of the table `transaction`, whose names carry no unit."""
        return {name.removesuffix("_minor"): value for name, value in vars(self).items()}


def required_rates(currency: str, payer: Party, payee: Party) -> list[tuple[str, str]]:
    """Return the currency pairs whose rates `compute_amounts` needs."""
    sides = [_host_currency(currency, payer, payee)]
    if payer.host is not None and payer.collective is not None:
        sides += [payer.host.currency, payer.currency]
    return [(currency, side) for side in sides]


def _host_currency(currency: str, payer: Party, payee: Party) -> str:
    if payee.host is not None:
        return payee.host.currency
    return payer.host.currency if payer.host is not None else currency


def is_inside_one_host(payer: Party, payee: Party) -> bool:
    """True if the money moves between two balances in one host's book."""
    return payer.host is not None and payee.host is not None and payer.host.id == payee.host.id


def applicable_fees(terms: FeeTerms, payer: Party, payee: Party, *, platform_id: UUID | None) -> FeeTerms:
    """Return the terms that apply to this payer and payee.

    There is no fee inside one host, no host fee for the host itself, no platform fee for the platform, and
    for a payee paid outside only the payout fee.
    """
    if payee.host is None:
        return replace(terms, processor_bps=0, processor_fixed_minor=0, platform_bps=0, host_bps=0)
    if is_inside_one_host(payer, payee):
        return FeeTerms()
    assert payee.collective is not None
    return replace(
        terms,
        host_bps=0 if payee.collective.id == payee.host.id else terms.host_bps,
        platform_bps=0 if payee.collective.id == platform_id else terms.platform_bps,
        payout_fee_minor=0,
    )


def compute_amounts(
    amount_minor: int,
    currency: str,
    payer: Party,
    payee: Party,
    *,
    terms: FeeTerms,
    quotes: dict[tuple[str, str], Quote],
) -> TransactionAmounts:
    """Compute all amounts of moving `amount_minor` of `currency` from payer to payee.

    Raises:
        AmountTooSmall: the fees are larger than the amount, or nothing would be left.
        Invalid: an amount would not fit into 64 bits.
    """
    host_currency = _host_currency(currency, payer, payee)
    quote = quotes[currency, host_currency]
    gross_minor = convert(amount_minor, quote.rate, source=currency, target=host_currency)
    payout_minor = terms.payout_fee_minor
    if terms.fees_payer is FeesPayer.PAYER:
        gross_minor += payout_minor
    processor_minor = apply_bps(gross_minor, terms.processor_bps) if terms.processor_bps else 0
    processor_minor += (terms.processor_fixed_minor if payee.host is not None else 0) + payout_minor
    platform_minor = apply_bps(gross_minor, terms.platform_bps)
    host_fee_minor = apply_bps(gross_minor, terms.host_bps)
    to_host_minor = gross_minor - processor_minor - platform_minor
    if to_host_minor - host_fee_minor <= 0:
        raise AmountTooSmall(field="amount")
    fees_minor = processor_minor + platform_minor + host_fee_minor
    if terms.fees_payer is FeesPayer.PAYER:
        fees_minor -= payout_minor
    # Never by converting the rest back: without fees, exactly the amount arrives.
    to_collective_minor = amount_minor - convert_back(
        fees_minor, quote.rate, source=currency, target=host_currency
    )
    if to_collective_minor <= 0:
        raise AmountTooSmall(field="amount")
    amounts = TransactionAmounts(
        currency=currency,
        amount_minor=amount_minor,
        host_currency=host_currency,
        fx_rate=quote.rate,
        fx_rate_id=quote.rate_id,
        gross_minor=gross_minor,
        payment_processor_fee_minor=processor_minor,
        platform_fee_minor=platform_minor,
        host_fee_minor=host_fee_minor,
        to_host_amount_minor=to_host_minor,
        to_collective_amount_minor=to_collective_minor,
    )
    if payer.host is not None and payer.collective is not None:
        amounts = _add_payer_amounts(amounts, payer, payee, terms=terms, quotes=quotes)
    _require_storable(amounts)
    return amounts


def _require_storable(amounts: TransactionAmounts) -> None:
    largest_minor = max(
        abs(amounts.gross_minor),
        abs(amounts.from_host_amount_minor or 0),
        abs(amounts.from_collective_amount_minor or 0),
        amounts.to_collective_amount_minor,
    )
    if largest_minor > MAX_MINOR:
        raise Invalid("The amount is too large. Enter a smaller amount.", field="amount")


def _add_payer_amounts(
    amounts: TransactionAmounts,
    payer: Party,
    payee: Party,
    *,
    terms: FeeTerms,
    quotes: dict[tuple[str, str], Quote],
) -> TransactionAmounts:
    """Add the amounts that the payer and its host give, with a payout fee that the payer bears."""
    assert payer.host is not None and payer.collective is not None
    host_quote = quotes[amounts.currency, payer.host.currency]
    own_quote = quotes[amounts.currency, payer.currency]
    host_minor = convert(
        amounts.amount_minor, host_quote.rate, source=amounts.currency, target=payer.host.currency
    )
    own_minor = convert(amounts.amount_minor, own_quote.rate, source=amounts.currency, target=payer.currency)
    if payee.host is None and terms.fees_payer is FeesPayer.PAYER:
        host_minor += terms.payout_fee_minor
        own_minor += convert(
            terms.payout_fee_minor,
            own_quote.rate / host_quote.rate,
            source=payer.host.currency,
            target=payer.currency,
        )
    if host_minor <= 0 or own_minor <= 0:
        raise AmountTooSmall(field="amount")
    return replace(
        amounts,
        from_host_currency=payer.host.currency,
        from_host_fx_rate=host_quote.rate,
        from_host_amount_minor=-host_minor,
        from_collective_currency=payer.currency,
        from_collective_fx_rate=own_quote.rate,
        from_collective_amount_minor=-own_minor,
    )


def same_currency_amounts(amount_minor: int, currency: str) -> TransactionAmounts:
    """Return the amounts of a movement within one book and currency: no fees, no rates."""
    one = Decimal(1)
    return TransactionAmounts(
        currency=currency,
        amount_minor=amount_minor,
        host_currency=currency,
        fx_rate=one,
        fx_rate_id=None,
        gross_minor=amount_minor,
        payment_processor_fee_minor=0,
        platform_fee_minor=0,
        host_fee_minor=0,
        to_host_amount_minor=amount_minor,
        to_collective_amount_minor=amount_minor,
        from_host_currency=currency,
        from_host_fx_rate=one,
        from_host_amount_minor=-amount_minor,
        from_collective_currency=currency,
        from_collective_fx_rate=one,
        from_collective_amount_minor=-amount_minor,
    )


@lru_cache(maxsize=8)
def currents_book(platform_id: UUID) -> Collective:
    """Return the platform as the host that keeps the book of currents.

    Made once: its many columns took a third of the time of approving hours.
    """
    return new_record(
        Collective, id=platform_id, slug="", type=CollectiveType.NONPROFIT, name="", currency=CURRENTS
    )
