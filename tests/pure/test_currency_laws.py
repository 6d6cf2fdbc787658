"""Laws of amounts across currencies with 0, 2 and 3 decimal places, at extreme rates."""

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models import Collective, iso4217
from models.enums import CollectiveType, TransactionKind
from services.core.errors import AmountTooSmall, Invalid
from services.core.party import OUTSIDE, Party
from services.ledger import transaction_amounts
from services.ledger.exchange_rates import Quote
from services.ledger.legs import settlement_legs
from services.ledger.transaction_amounts import FeeTerms, TransactionAmounts
from services.orders.settlements import settlement_amounts

CURRENCIES = tuple(sorted(iso4217.CURRENCIES))
amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**12))
rates = st.decimals(Decimal("0.000001"), Decimal(1_000_000), places=6).filter(lambda rate: rate > 0)
codes = st.sampled_from(CURRENCIES)
fees = st.builds(
    FeeTerms,
    processor_bps=st.integers(0, 3000),
    processor_fixed_minor=st.integers(0, 500),
    platform_bps=st.integers(0, 3000),
    host_bps=st.integers(0, 3000),
)


def collective(number: int, currency: str) -> Collective:
    return Collective(
        id=UUID(int=number), slug=f"c{number}", name="", type=CollectiveType.NONPROFIT, currency=currency
    )


def quote(base: str, target: str, rate: Decimal) -> Quote:
    return Quote(base, target, Decimal(1) if base == target else rate, None, None, "")


def moved(
    amount_minor: int, code: str, payer: Party, payee: Party, rate: Decimal, terms: FeeTerms | None = None
) -> TransactionAmounts:
    """Return the amounts at one rate from the order's currency; discard what is refused."""
    pairs = transaction_amounts.required_rates(code, payer, payee)
    try:
        return transaction_amounts.compute_amounts(
            amount_minor,
            code,
            payer,
            payee,
            terms=terms or FeeTerms(),
            quotes={pair: quote(*pair, rate) for pair in pairs},
        )
    except (AmountTooSmall, Invalid):
        assume(condition=False)
        raise


@given(amounts, codes, codes, rates)
def test_there_and_back_in_one_currency_gains_nothing(
    amount_minor: int, code: str, host_code: str, rate: Decimal
) -> None:
    hosts = collective(1, host_code), collective(2, host_code)
    first, second = (Party(collective(i + 10, code), host) for i, host in enumerate(hosts))
    there = moved(amount_minor, code, first, second, rate)
    back = moved(there.to_collective_amount_minor, code, second, first, rate)
    assert there.to_collective_amount_minor == -(there.from_collective_amount_minor or 0) == amount_minor
    assert back.to_collective_amount_minor == amount_minor


SAMPLES = ("KRW", "USD", "KWD")
"""A currency of 0, 2 and 3 decimal places."""


@pytest.mark.parametrize("host_code", SAMPLES)
@pytest.mark.parametrize("code", CURRENCIES)
def test_there_and_back_gains_nothing_in_any_pair_at_any_rate(code: str, host_code: str) -> None:
    hosts = collective(1, host_code), collective(2, host_code)
    first, second = (Party(collective(i + 10, code), host) for i, host in enumerate(hosts))
    for rate in (
        Decimal("0.000001"),
        Decimal("0.000714285714"),
        Decimal("1.1481"),
        Decimal(160),
        Decimal(10**6),
    ):
        for amount_minor in (1, 7, 99, 10**9 + 1):
            pairs = {pair: quote(*pair, rate) for pair in ((code, code), (code, host_code))}
            balances, minor = [0, 0], amount_minor
            for payer, payee, sides in ((first, second, (0, 1)), (second, first, (1, 0))):
                try:
                    got = transaction_amounts.compute_amounts(
                        minor, code, payer, payee, terms=FeeTerms(), quotes=pairs
                    )
                except AmountTooSmall:
                    break  # nothing is posted: nothing gained
                balances[sides[0]] += got.from_collective_amount_minor or 0
                balances[sides[1]] += got.to_collective_amount_minor
            else:
                assert balances == [0, 0]


@given(amounts, st.integers(2, 20), codes, codes, codes, rates, rates)
def test_many_payments_take_no_less_and_give_no_more_than_one(
    part_minor: int,
    number: int,
    code: str,
    payer_code: str,
    host_code: str,
    host_rate: Decimal,
    payer_rate: Decimal,
) -> None:
    """Each payment credits exactly its amount, and takes what that is worth, within half a unit."""
    payer = Party(collective(11, payer_code), collective(1, host_code))
    payee = Party(collective(12, code), collective(2, host_code))
    quotes = {pair: quote(*pair, host_rate) for pair in ((code, host_code),)}
    quotes |= {(code, payer_code): quote(code, payer_code, payer_rate)}
    if payer_code == host_code:
        quotes |= {(code, payer_code): quotes[code, host_code]}
    try:
        whole, part = (
            transaction_amounts.compute_amounts(minor, code, payer, payee, terms=FeeTerms(), quotes=quotes)
            for minor in (part_minor * number, part_minor)
        )
    except (AmountTooSmall, Invalid):
        assume(condition=False)
        raise
    assert part.to_collective_amount_minor * number == whole.to_collective_amount_minor
    taken_minor = -(part.from_collective_amount_minor or 0) * number
    assert abs(taken_minor + (whole.from_collective_amount_minor or 0)) <= (number + 1) / 2
    assert part.from_collective_amount_minor, "nothing is given for nothing"


@given(amounts, codes, codes, rates, fees)
def test_no_more_than_the_amount_arrives_and_the_parts_add_up(
    amount_minor: int, code: str, host_code: str, rate: Decimal, terms: FeeTerms
) -> None:
    payee = Party(collective(11, code), collective(1, host_code))
    got = moved(amount_minor, code, OUTSIDE, payee, rate, terms)
    assert 0 < got.to_collective_amount_minor <= amount_minor
    assert got.gross_minor == (
        got.to_host_amount_minor + got.payment_processor_fee_minor + got.platform_fee_minor
    )
    if code == host_code:
        assert got.to_collective_amount_minor == got.to_host_amount_minor - got.host_fee_minor


@given(amounts, amounts, codes, fees)
def test_splitting_a_payment_gains_nothing_beyond_the_rounding_of_fees(
    first_minor: int, second_minor: int, code: str, terms: FeeTerms
) -> None:
    payee = Party(collective(11, code), collective(1, code))
    whole, *parts = (
        moved(minor, code, OUTSIDE, payee, Decimal(1), terms)
        for minor in (first_minor + second_minor, first_minor, second_minor)
    )
    # Each of three fees is rounded by at most half a unit, in the whole and in both parts.
    gain_minor = sum(part.to_collective_amount_minor for part in parts) - whole.to_collective_amount_minor
    assert gain_minor <= 4


@pytest.mark.parametrize(
    ("amount_minor", "code", "rate", "terms", "arrives"),
    [
        (8, "KRW", "0.000714285714", FeeTerms(), 8),
        (85_00, "IDR", "0.0000625", FeeTerms(), 85_00),
        (10_000, "KRW", "0.000714285714", FeeTerms(platform_bps=500, host_bps=500), 8_992),
    ],
)
def test_known_amounts_at_small_rates(
    amount_minor: int, code: str, rate: str, terms: FeeTerms, arrives: int
) -> None:
    payee = Party(collective(11, code), collective(1, "USD"))
    pair = (code, "USD")
    got = transaction_amounts.compute_amounts(
        amount_minor, code, OUTSIDE, payee, terms=terms, quotes={pair: quote(*pair, Decimal(rate))}
    )
    assert got.to_collective_amount_minor == arrives


@given(amounts, amounts, codes, codes, st.sampled_from(["SETTLEMENT", "PLATFORM_FEE_SETTLEMENT"]))
def test_the_legs_of_a_settlement_sum_to_zero_in_every_book_and_currency(
    amount_minor: int, paid_minor: int, code: str, paid_code: str, kind: str
) -> None:
    debtor, creditor = collective(1, paid_code), collective(2, code)
    figures = settlement_amounts(
        amount_minor,
        code,
        paid_minor=amount_minor if code == paid_code else paid_minor,
        paid_currency=paid_code,
    )
    totals: dict[tuple[UUID, str], int] = {}
    for leg in settlement_legs(figures, debtor, creditor, kind=TransactionKind(kind)):
        totals[leg.book_id, leg.currency] = totals.get((leg.book_id, leg.currency), 0) + leg.amount_minor
    assert set(totals.values()) == {0}
