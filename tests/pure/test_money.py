"""Amounts: parsing, formatting, rounding, conversion and allocation."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.iso4217 import CURRENCIES
from services.core.errors import Invalid
from services.core.money import (
    MAX_MINOR,
    Money,
    UncheckedAmount,
    allocate,
    apply_bps,
    convert,
    convert_back,
    require_currency,
    round_half_away,
    to_minor,
    to_minor_or_zero,
)

currency = st.sampled_from(["JPY", "KWD", "USD", "EUR"])
amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**15))
rates = st.decimals(Decimal("0.0001"), Decimal(10_000), places=6).filter(lambda rate: rate > 0)


@pytest.mark.parametrize(
    ("amount_minor", "code", "text"),
    [
        (0, "USD", "0.00"),
        (5, "USD", "0.05"),
        (-5, "USD", "-0.05"),
        (123_456, "USD", "1234.56"),
        (1, "JPY", "1"),
        (-1500, "JPY", "-1500"),
        (1, "KWD", "0.001"),
        (2_500, "CUR", "2.500"),
        (MAX_MINOR, "EUR", "92233720368547758.07"),
    ],
)
def test_an_amount_is_formatted_with_the_decimals_of_its_currency(
    amount_minor: int, code: str, text: str
) -> None:
    amount = Money(amount_minor, code)
    assert amount.text == text
    assert str(amount.value) == text
    assert amount.exponent == len(text.partition(".")[2])


@given(st.integers(1, MAX_MINOR), st.sampled_from(sorted(CURRENCIES)))
def test_a_formatted_amount_is_parsed_to_the_same_minor_units(amount_minor: int, code: str) -> None:
    text = Money(amount_minor, code).text
    assert to_minor(UncheckedAmount(Decimal(text), code), field="amount") == amount_minor


@pytest.mark.parametrize(
    ("value", "code", "field", "message"),
    [
        ("1", "XXX", "amount.currency", "is not a currency code"),
        ("1", "EUR", "amount.currency", "must be in USD, not EUR"),
        ("NaN", "USD", "amount.value", "finite number"),
        ("Infinity", "USD", "amount.value", "finite number"),
        ("0", "USD", "amount.value", "greater than zero"),
        ("-0.01", "USD", "amount.value", "greater than zero"),
        ("0.001", "USD", "amount.value", "USD has 2 decimal places"),
        ("92233720368547758.08", "USD", "amount.value", "too large"),
        ("1e1000000", "USD", "amount.value", "too large"),
        ("1." + "0" * 60 + "1", "USD", "amount.value", "too many digits"),
        ("1." + "0" * 60, "USD", "amount.value", "too many digits"),
        ("0." + "9" * 61, "USD", "amount.value", "too many digits"),
        ("1." + "0" * 58 + "1", "USD", "amount.value", "USD has 2 decimal places"),
        ("1e-1000000", "USD", "amount.value", "USD has 2 decimal places"),
    ],
)
def test_an_unusable_amount_names_its_field(value: str, code: str, field: str, message: str) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        to_minor(
            UncheckedAmount(Decimal(value), code), field="amount", currency="USD" if code == "EUR" else None
        )
    assert caught.value.path == tuple(field.split("."))


def test_zero_is_accepted_only_where_it_means_none() -> None:
    assert to_minor_or_zero(UncheckedAmount(Decimal(0), "USD"), field="fee", currency="USD") == 0
    assert to_minor_or_zero(UncheckedAmount(Decimal("0.30"), "USD"), field="fee", currency="USD") == 30
    for amount in (UncheckedAmount(Decimal(0), "EUR"), UncheckedAmount(Decimal(-1), "USD")):
        with pytest.raises(Invalid):
            to_minor_or_zero(amount, field="fee", currency="USD")


def test_only_codes_of_known_currencies_are_accepted() -> None:
    assert require_currency("JPY", field="currency") == "JPY"
    for code in ("", "usd", "US", "USDT", "XYZ" * 100):
        with pytest.raises(Invalid) as caught:
            require_currency(code, field="currency")
        assert len(caught.value.message) < 60, "a long code is abbreviated"


@pytest.mark.parametrize(
    ("amount", "rate", "source", "target", "expected"),
    [
        (100, "149.25", "USD", "JPY", 149),
        (101, "149.25", "USD", "JPY", 151),
        (1, "149.25", "USD", "JPY", 1),
        (150, "0.0067", "JPY", "USD", 101),
        (1, "0.0067", "JPY", "USD", 1),
        (1, "0.004", "JPY", "USD", 0),
        (1000, "3.25", "KWD", "USD", 325),
        (1, "3.25", "KWD", "USD", 0),
        (2, "3.25", "KWD", "USD", 1),
        (325, "0.3077", "USD", "KWD", 1000),
        (1, "500", "KWD", "JPY", 1),
        (3, "500", "KWD", "JPY", 2),
        (250, "20", "CUR", "USD", 500),
        (10000, "1.1481", "EUR", "USD", 11481),
        (-1, "0.5", "USD", "EUR", -1),
    ],
)
def test_convert_rounds_half_away_from_zero_to_the_targets_minor_units(
    amount: int, rate: str, source: str, target: str, expected: int
) -> None:
    assert convert(amount, Decimal(rate), source=source, target=target) == expected


CODES = st.sampled_from(["USD", "EUR", "JPY", "KWD", "CUR"])


@given(
    amount=st.integers(1, 2**63 - 1),
    source=CODES,
    target=CODES,
    rate=st.decimals("0.000001", "1000000", places=6),
)
def test_there_and_back_at_one_rateis_within_half_a_unit(
    amount: int, source: str, target: str, rate: Decimal
) -> None:
    there = convert(amount, rate, source=source, target=target)
    unit = rate.scaleb(CURRENCIES[target][0] - CURRENCIES[source][0])
    back = convert_back(there, rate, source=source, target=target)
    assert abs(back - amount) <= Decimal("0.5") / unit + Decimal("0.5")


@given(st.lists(st.integers(0, 10**15), max_size=8), st.data())
def test_allocated_parts_add_up_to_the_total(weights: list[int], data: st.DataObject) -> None:
    whole = sum(weights)
    total = data.draw(st.integers(0, whole))
    parts = allocate(total, weights)

    assert len(parts) == len(weights)
    assert sum(parts) == (total if whole else 0)
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part <= weight
        assert whole == 0 or abs(part * whole - total * weight) < whole
    assert parts == allocate(total, weights)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.data())
def test_a_greater_weight_never_gets_a_smaller_part(weights: list[int], data: st.DataObject) -> None:
    parts = allocate(data.draw(st.integers(0, sum(weights))), weights)
    by_weight = sorted(zip(weights, parts, strict=True))

    assert all(a[1] <= b[1] for a, b in pairwise(by_weight) if a[0] < b[0])


@given(st.integers(-(10**15), 10**15), st.integers(0, 10_000))
def test_bps_are_rounded_half_away_from_zero(amount: int, bps: int) -> None:
    exact = abs(amount) * bps
    expected = (exact * 2 + 10_000) // 20_000

    assert apply_bps(amount, bps) == (expected if amount >= 0 else -expected)


@given(st.integers(-(10**15), 10**15), rates)
def test_rounding_is_within_half_a_unit_and_symmetric(amount: int, rate: Decimal) -> None:
    exact = Decimal(amount) * rate
    rounded = round_half_away(exact)

    assert abs(Decimal(rounded) - exact) <= Decimal("0.5")
    assert round_half_away(-exact) == -rounded


@given(amounts, currency, currency)
def test_a_rate_of_one_only_moves_the_decimal_point(amount: int, source: str, target: str) -> None:
    there = convert(amount, Decimal(1), source=source, target=target)

    if source == target:
        assert there == amount
    back = convert(there, Decimal(1), source=target, target=source)
    assert abs(back - amount) <= 10 ** max(0, _places(source) - _places(target))


def _places(code: str) -> int:
    return {"JPY": 0, "KWD": 3}.get(code, 2)
