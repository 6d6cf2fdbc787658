"""The table of currencies."""

import pytest

from models.iso4217 import CURRENCIES
from services.core.money import exponent


def test_codes_are_three_capital_letters() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize(
    ("code", "decimals"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CUR", 3), ("CLP", 0), ("TND", 3)]
)
def test_a_currency_has_the_decimal_places_of_iso_4217(code: str, decimals: int) -> None:
    assert exponent(code) == decimals


def test_no_code_of_a_metal_or_for_tests_is_a_currency() -> None:
    assert CURRENCIES.keys().isdisjoint({"XAU", "XAG", "XTS", "XXX"})
