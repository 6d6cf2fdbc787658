"""Stripe's units of money: its currencies without decimals are not all those of ISO 4217."""

from decimal import Decimal

from services.core.money import exponent, round_half_away
from services.providers.protocol import ProviderRefused

_NO_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_THREE_DECIMALS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
_STEP_OF_THREE = 10
"""Amounts of three decimals are whole multiples of this."""


def decimals_of(currency: str) -> int:
    """Return the number of decimals of Stripe's unit of a currency."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def to_units(amount_minor: int, currency: str) -> int:
    """Return an amount in Stripe's units.

    Raises:
        ProviderRefused: Stripe does not collect fractions that small.
    """
    units = _shift(amount_minor, decimals_of(currency) - exponent(currency))
    step = _STEP_OF_THREE if currency in _THREE_DECIMALS else 1
    if units != int(units) or int(units) % step:
        raise ProviderRefused(
            f"The payment provider collects no smaller parts of {currency}. Round the amount."
        )
    return int(units)


def to_minor(units: int, currency: str) -> int:
    """Return an amount of Stripe's units in our minor units."""
    return round_half_away(_shift(units, exponent(currency) - decimals_of(currency)))


def _shift(number: int, places: int) -> Decimal:
    return Decimal(number).scaleb(places)
