"""Stripe's units: every currency of ours goes there and back without a loss."""

import pytest

from models.iso4217 import CURRENCIES
from services.core.money import exponent
from services.providers.protocol import ProviderRefused
from services.providers.stripe_amounts import to_minor, to_units


@pytest.mark.parametrize(
    ("currency", "amount_minor", "units"),
    [("USD", 1234, 1234), ("JPY", 500, 500), ("ISK", 500, 50_000), ("UGX", 500, 50_000), ("KWD", 5120, 5120)],
)
def test_units_are_those_of_stripes_documentation(currency: str, amount_minor: int, units: int) -> None:
    assert to_units(amount_minor, currency) == units
    assert to_minor(units, currency) == amount_minor


@pytest.mark.parametrize(("currency", "amount_minor"), [("KWD", 5124), ("MGA", 101)])
def test_parts_that_stripe_does_not_collect_are_refused(currency: str, amount_minor: int) -> None:
    assert exponent(currency) > 0
    with pytest.raises(ProviderRefused):
        to_units(amount_minor, currency)


def test_whole_amounts_of_every_currency_come_back() -> None:
    for currency in CURRENCIES:
        amount_minor = 7 * 10 ** exponent(currency)
        assert to_minor(to_units(amount_minor, currency), currency) == amount_minor
