"""What an amount means on each side: the figures of a transaction and its legs. Pure arithmetic.

Definitions: see docs/ledger.md. Each figure is rounded once, half away from zero; the last one of a sum is
found by subtraction, so that the parts add up to the whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from models import Collective
from models.enums import CollectiveType, FeesPayer, LedgerAccountKind
from services.core.errors import AmountTooSmall, Invalid
from services.core.money import MAX_MINOR, convert, convert_back, share
from services.core.party import Party
from services.ledger.exchange_rates import Quote

CURRENTS = "CUR"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is taken from an amount."""

    processor_bps: int = 0
    processor_fixed_minor: int = 0
    """Minor units of the host's currency."""
    platform_bps: int = 0
    host_bps: int = 0
    payout_fee_minor: int = 0
    """A payout's fee in minor units of the paying host's currency."""
    fees_payer: FeesPayer = FeesPayer.PAYER


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All amounts of a transaction, in minor units; fees and gross are in `host_currency`."""

    currency: str
    amount: int
    host_currency: str
    fx_rate: Decimal
    fx_rate_id: UUID | None
    gross: int
    payment_processor_fee: int
    platform_fee: int
    host_fee: int
    to_host_amount: int
    to_collective_amount: int
    from_host_currency: str | None = None
    from_host_fx_rate: Decimal | None = None
    from_host_amount: int | None = None
    from_collective_currency: str | None = None
    from_collective_fx_rate: Decimal | None = None
    from_collective_amount: int | None = None


@dataclass(frozen=True, order=True)
class Leg:
    """One line: an account's key, which is also the order of locking, and a credit in minor units."""

    book_id: UUID
    owner_id: UUID
    currency: str
    kind: str
    amount: int


def pairs(currency: str, payer: Party, payee: Party) -> list[tuple[str, str]]:
    """Return the currency pairs whose rates `figures` needs."""
    sides = [_host_currency(currency, payer, payee)]
    if payer.host is not None and payer.collective is not None:
        sides += [payer.host.currency, payer.currency]
    return [(currency, side) for side in sides]


def _host_currency(currency: str, payer: Party, payee: Party) -> str:
    if payee.host is not None:
        return payee.host.currency
    return payer.host.currency if payer.host is not None else currency


def inside_one_host(payer: Party, payee: Party) -> bool:
    """Whether the money stays on one host's book, between two balances."""
    return payer.host is not None and payee.host is not None and payer.host.id == payee.host.id


def fees_of(terms: Terms, payer: Party, payee: Party, *, platform_id: UUID | None) -> Terms:
    """Return the terms that hold: no fee inside one host, no host's fee for the host itself, none outside.

    The platform takes no fee of money given to itself.
    """
    if payee.host is None:
        return replace(terms, processor_bps=0, processor_fixed_minor=0, platform_bps=0, host_bps=0)
    if inside_one_host(payer, payee):
        return Terms()
    assert payee.collective is not None
    return replace(
        terms,
        host_bps=0 if payee.collective.id == payee.host.id else terms.host_bps,
        platform_bps=0 if payee.collective.id == platform_id else terms.platform_bps,
        payout_fee_minor=0,
    )


def figures(
    amount: int,
    currency: str,
    payer: Party,
    payee: Party,
    *,
    terms: Terms,
    quotes: dict[tuple[str, str], Quote],
) -> Figures:
    """Compute the figures of moving `amount` minor units of `currency` from payer to payee.

    Raises:
        AmountTooSmall: the fees are larger than the amount, or nothing would be left.
        Invalid: a figure would not fit into 64 bits.
    """
    host_currency = _host_currency(currency, payer, payee)
    quote = quotes[currency, host_currency]
    gross = convert(amount, quote.rate, source=currency, target=host_currency)
    payout_fee = terms.payout_fee_minor
    if terms.fees_payer is FeesPayer.PAYER:
        gross += payout_fee
    processor = share(gross, terms.processor_bps) if terms.processor_bps else 0
    processor += (terms.processor_fixed_minor if payee.host is not None else 0) + payout_fee
    platform = share(gross, terms.platform_bps)
    host_fee = share(gross, terms.host_bps)
    to_host = gross - processor - platform
    if to_host - host_fee <= 0:
        raise AmountTooSmall(path=["input", "amount"])
    net = to_host - host_fee
    unchanged = inside_one_host(payer, payee) and payer.collective is not None and payer.currency == currency
    to_collective = (
        amount if unchanged else convert_back(net, quote.rate, source=currency, target=host_currency)
    )
    if to_collective <= 0:
        raise AmountTooSmall(path=["input", "amount"])
    result = Figures(
        currency=currency,
        amount=amount,
        host_currency=host_currency,
        fx_rate=quote.rate,
        fx_rate_id=quote.rate_id,
        gross=gross,
        payment_processor_fee=processor,
        platform_fee=platform,
        host_fee=host_fee,
        to_host_amount=to_host,
        to_collective_amount=to_collective,
    )
    if payer.host is not None and payer.collective is not None:
        result = _with_payer(result, payer, payee, terms=terms, quotes=quotes)
    if (
        max(
            abs(gross),
            abs(result.from_host_amount or 0),
            abs(result.from_collective_amount or 0),
            to_collective,
        )
        > MAX_MINOR
    ):
        raise Invalid("The amount is too large", path=["input", "amount"])
    return result


def _with_payer(
    result: Figures,
    payer: Party,
    payee: Party,
    *,
    terms: Terms,
    quotes: dict[tuple[str, str], Quote],
) -> Figures:
    """Add what the paying side and its host give; a payout's fee borne by the payer is part of it."""
    assert payer.host is not None and payer.collective is not None
    host_quote = quotes[result.currency, payer.host.currency]
    own_quote = quotes[result.currency, payer.currency]
    at_host = convert(result.amount, host_quote.rate, source=result.currency, target=payer.host.currency)
    own = convert(result.amount, own_quote.rate, source=result.currency, target=payer.currency)
    if payee.host is None and terms.fees_payer is FeesPayer.PAYER:
        at_host += terms.payout_fee_minor
        own += convert(
            terms.payout_fee_minor,
            own_quote.rate / host_quote.rate,
            source=payer.host.currency,
            target=payer.currency,
        )
    if at_host <= 0 or own <= 0:
        raise AmountTooSmall(path=["input", "amount"])
    return replace(
        result,
        from_host_currency=payer.host.currency,
        from_host_fx_rate=host_quote.rate,
        from_host_amount=-at_host,
        from_collective_currency=payer.currency,
        from_collective_fx_rate=own_quote.rate,
        from_collective_amount=-own,
    )


def legs(found: Figures, payer: Party, payee: Party, *, platform_id: UUID) -> list[Leg]:
    """Return the postings of a movement, one an account, in the order of locking.

    They sum to zero per book and currency.
    """
    lines: list[Leg] = []
    if payer.host is not None:
        lines += _paying_side(found, payer)
    if payee.host is not None:
        lines += _receiving_side(found, payer, payee, platform_id=platform_id)
    return merged(lines)


def _paying_side(found: Figures, payer: Party) -> list[Leg]:
    assert payer.host is not None and payer.collective is not None
    assert found.from_host_amount is not None and found.from_collective_amount is not None
    book, own, currency = payer.host, payer.collective, payer.currency
    at_host, at_own = found.from_host_amount, found.from_collective_amount
    lines = [
        _leg(book, own, currency, LedgerAccountKind.BALANCE, at_own),
        _leg(book, book, book.currency, LedgerAccountKind.CASH, -at_host),
    ]
    if currency != book.currency:
        lines += [
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -at_own),
            _leg(book, book, book.currency, LedgerAccountKind.EXCHANGE, at_host),
        ]
    return lines


def _receiving_side(found: Figures, payer: Party, payee: Party, *, platform_id: UUID) -> list[Leg]:
    assert payee.host is not None and payee.collective is not None
    book, own, currency = payee.host, payee.collective, payee.currency
    net = found.to_host_amount - found.host_fee
    cash = found.gross - found.payment_processor_fee
    if inside_one_host(payer, payee):
        # The cash that the paying side frees is the cash that this side takes: none moves.
        assert found.from_host_amount is not None
        cash = net = -found.from_host_amount
    lines = [
        _leg(book, book, book.currency, LedgerAccountKind.CASH, -cash),
        Leg(book.id, platform_id, book.currency, LedgerAccountKind.BALANCE, found.platform_fee),
        _leg(book, book, book.currency, LedgerAccountKind.BALANCE, found.host_fee),
        _leg(book, own, currency, LedgerAccountKind.BALANCE, found.to_collective_amount),
    ]
    if currency != book.currency:
        lines += [
            _leg(book, book, book.currency, LedgerAccountKind.EXCHANGE, net),
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -found.to_collective_amount),
        ]
    return lines


def unconverted(amount: int, currency: str) -> Figures:
    """Return the figures of moving minor units of a currency within one book: no fee, no rate."""
    one = Decimal(1)
    return Figures(
        currency=currency,
        amount=amount,
        host_currency=currency,
        fx_rate=one,
        fx_rate_id=None,
        gross=amount,
        payment_processor_fee=0,
        platform_fee=0,
        host_fee=0,
        to_host_amount=amount,
        to_collective_amount=amount,
        from_host_currency=currency,
        from_host_fx_rate=one,
        from_host_amount=-amount,
        from_collective_currency=currency,
        from_collective_fx_rate=one,
        from_collective_amount=-amount,
    )


def currents_legs(
    *,
    book_id: UUID,
    from_id: UUID,
    to_id: UUID,
    amount: int,
    kind_from: LedgerAccountKind = LedgerAccountKind.BALANCE,
) -> list[Leg]:
    """Return the two postings of moving, or from ISSUANCE issuing, currents, in the order of locking."""
    return merged(
        [
            Leg(book_id, from_id, CURRENTS, kind_from, -amount),
            Leg(book_id, to_id, CURRENTS, LedgerAccountKind.BALANCE, amount),
        ]
    )


def book_of_currents(platform_id: UUID) -> Collective:
    """Return the platform as the host that keeps currents."""
    return Collective(id=platform_id, slug="", type=CollectiveType.NONPROFIT, name="", currency=CURRENTS)


def _leg(book: Collective, owner: Collective, currency: str, kind: LedgerAccountKind, amount: int) -> Leg:
    return Leg(book.id, owner.id, currency, kind, amount)


def merged(lines: Iterable[Leg]) -> list[Leg]:
    """Add up the lines of one account, drop those that cancel, and sort into the order of locking."""
    totals: dict[tuple[UUID, UUID, str, str], int] = {}
    for line in lines:
        key = (line.book_id, line.owner_id, line.currency, str(line.kind))
        totals[key] = totals.get(key, 0) + line.amount
    return [Leg(*key, amount) for key, amount in sorted(totals.items()) if amount]
