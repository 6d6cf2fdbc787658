"""Amounts of a transaction in known cases; their laws are in test_ledger_properties."""

from decimal import Decimal
from uuid import UUID

import pytest

from models import Collective
from models.enums import CollectiveType, FeesPayer
from services.core.errors import AmountTooSmall, Invalid
from services.core.money import MAX_MINOR
from services.core.party import OUTSIDE, Party
from services.ledger.exchange_rates import Quote
from services.ledger.transaction_amounts import (
    FeeTerms,
    TransactionAmounts,
    applicable_fees,
    compute_amounts,
    is_inside_one_host,
    required_rates,
    same_currency_amounts,
)

PLATFORM_ID = UUID(int=99)


def collective(number: int, currency: str) -> Collective:
    return Collective(
        id=UUID(int=number), slug=f"c{number}", name="", type=CollectiveType.NONPROFIT, currency=currency
    )


DOLLAR_HOST, EURO_HOST = collective(1, "USD"), collective(2, "EUR")
DOLLARS, OTHER_DOLLARS, EUROS = collective(11, "USD"), collective(12, "USD"), collective(21, "EUR")
IN_DOLLARS, IN_EUROS = Party(DOLLARS, DOLLAR_HOST), Party(EUROS, EURO_HOST)
PAID_OUTSIDE = Party(OTHER_DOLLARS, None)


def quotes(**rates: str) -> dict[tuple[str, str], Quote]:
    """Return quotes by pair, such as `USDEUR="0.9"`; a currency is worth one of itself."""
    pairs = {(code, code): "1" for code in ("USD", "EUR")}
    pairs |= {(name[:3], name[3:]): rate for name, rate in rates.items()}
    return {pair: Quote(*pair, Decimal(rate), None, None, "") for pair, rate in pairs.items()}


def amounts_from_outside(amount_minor: int, terms: FeeTerms) -> TransactionAmounts:
    return compute_amounts(amount_minor, "USD", OUTSIDE, IN_DOLLARS, terms=terms, quotes=quotes())


def test_each_fee_is_a_share_of_the_gross_amount() -> None:
    terms = FeeTerms(processor_bps=290, processor_fixed_minor=30, platform_bps=500, host_bps=1000)
    amounts = amounts_from_outside(100_00, terms)
    assert amounts.gross_minor == 100_00
    assert amounts.payment_processor_fee_minor == 2_90 + 30
    assert (amounts.platform_fee_minor, amounts.host_fee_minor) == (5_00, 10_00)
    assert amounts.to_host_amount_minor == 91_80
    assert amounts.to_collective_amount_minor == 81_80
    assert amounts.from_host_amount_minor is None


def test_fees_that_leave_nothing_are_refused() -> None:
    assert amounts_from_outside(31, FeeTerms(processor_fixed_minor=30)).to_collective_amount_minor == 1
    with pytest.raises(AmountTooSmall) as caught:
        amounts_from_outside(30, FeeTerms(processor_fixed_minor=30))
    assert caught.value.path == ("amount",)


def test_fees_that_leave_nothing_to_the_host_alone_are_refused() -> None:
    """1,000 won are 0.71 dollars; fees of 0.71 dollars are 994 won, which would leave the collective 6."""
    rates = quotes(KRWUSD="0.000714285714") | {
        ("KRW", "KRW"): Quote("KRW", "KRW", Decimal(1), None, None, "")
    }
    in_won = Party(collective(31, "KRW"), DOLLAR_HOST)
    left = compute_amounts(
        1_000, "KRW", OUTSIDE, in_won, terms=FeeTerms(processor_fixed_minor=70), quotes=rates
    )
    assert (left.to_host_amount_minor, left.to_collective_amount_minor) == (1, 20)
    with pytest.raises(AmountTooSmall):
        compute_amounts(1_000, "KRW", OUTSIDE, in_won, terms=FeeTerms(processor_fixed_minor=71), quotes=rates)


def test_fees_that_leave_nothing_to_the_collective_alone_are_refused() -> None:
    """A yen is 0.62 dollars here; fees of 0.40 dollars are a yen, which would leave the host 0.22."""
    rates = quotes(JPYUSD="0.62") | {("JPY", "JPY"): Quote("JPY", "JPY", Decimal(1), None, None, "")}
    in_yen = Party(collective(32, "JPY"), DOLLAR_HOST)
    left = compute_amounts(2, "JPY", OUTSIDE, in_yen, terms=FeeTerms(processor_fixed_minor=40), quotes=rates)
    assert (left.to_host_amount_minor, left.to_collective_amount_minor) == (84, 1)
    with pytest.raises(AmountTooSmall):
        compute_amounts(1, "JPY", OUTSIDE, in_yen, terms=FeeTerms(processor_fixed_minor=40), quotes=rates)


def test_an_amount_that_does_not_fit_into_64_bits_is_refused() -> None:
    assert amounts_from_outside(MAX_MINOR, FeeTerms()).gross_minor == MAX_MINOR
    with pytest.raises(Invalid, match="too large"):
        compute_amounts(MAX_MINOR, "USD", OUTSIDE, IN_EUROS, terms=FeeTerms(), quotes=quotes(USDEUR="1.1"))


def test_a_donation_between_hosts_is_converted_for_each_side() -> None:
    amounts = compute_amounts(
        100_00, "EUR", IN_DOLLARS, IN_EUROS, terms=FeeTerms(host_bps=500), quotes=quotes(EURUSD="1.25")
    )
    assert (amounts.host_currency, amounts.fx_rate) == ("EUR", Decimal(1))
    assert (amounts.from_host_currency, amounts.from_host_fx_rate) == ("USD", Decimal("1.25"))
    assert amounts.from_host_amount_minor == amounts.from_collective_amount_minor == -125_00
    assert (amounts.host_fee_minor, amounts.to_collective_amount_minor) == (5_00, 95_00)


@pytest.mark.parametrize(
    ("fees_payer", "paid_minor", "received_minor"),
    [(FeesPayer.PAYER, 101_50, 100_00), (FeesPayer.PAYEE, 100_00, 98_50)],
)
def test_a_payout_fee_is_paid_by_the_chosen_side(
    fees_payer: FeesPayer, paid_minor: int, received_minor: int
) -> None:
    terms = FeeTerms(payout_fee_minor=1_50, fees_payer=fees_payer)
    amounts = compute_amounts(100_00, "USD", IN_DOLLARS, PAID_OUTSIDE, terms=terms, quotes=quotes())
    assert amounts.payment_processor_fee_minor == 1_50
    assert amounts.from_host_amount_minor == -paid_minor
    assert amounts.to_host_amount_minor == received_minor


def test_fees_apply_only_between_hosts_and_never_to_their_own_receiver() -> None:
    terms = FeeTerms(
        processor_bps=290, processor_fixed_minor=30, platform_bps=500, host_bps=1000, payout_fee_minor=1_50
    )
    same_host = Party(OTHER_DOLLARS, DOLLAR_HOST)
    assert is_inside_one_host(IN_DOLLARS, same_host)
    assert applicable_fees(terms, IN_DOLLARS, same_host, platform_id=PLATFORM_ID) == FeeTerms()
    to_host = applicable_fees(terms, OUTSIDE, Party(DOLLAR_HOST, DOLLAR_HOST), platform_id=PLATFORM_ID)
    assert (to_host.host_bps, to_host.platform_bps) == (0, 500)
    to_platform = applicable_fees(terms, OUTSIDE, IN_DOLLARS, platform_id=DOLLARS.id)
    assert (to_platform.host_bps, to_platform.platform_bps) == (1000, 0)
    payout = applicable_fees(terms, IN_DOLLARS, PAID_OUTSIDE, platform_id=PLATFORM_ID)
    assert payout == FeeTerms(payout_fee_minor=1_50)


def test_rates_are_required_for_every_currency_of_the_two_sides() -> None:
    assert required_rates("EUR", OUTSIDE, IN_EUROS) == [("EUR", "EUR")]
    assert set(required_rates("EUR", IN_DOLLARS, IN_EUROS)) == {("EUR", "EUR"), ("EUR", "USD")}
    assert set(required_rates("EUR", IN_DOLLARS, PAID_OUTSIDE)) == {("EUR", "USD")}


def test_a_movement_in_one_currency_has_no_fees_and_the_same_amount_on_both_sides() -> None:
    amounts = same_currency_amounts(2_500, "CUR")
    assert (amounts.payment_processor_fee_minor, amounts.platform_fee_minor, amounts.host_fee_minor) == (
        0,
        0,
        0,
    )
    assert amounts.from_collective_amount_minor == -2_500
    assert amounts.to_collective_amount_minor == amounts.gross_minor == 2_500
