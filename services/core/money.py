"""Exact amounts in minor units: rounding, conversion and splitting. No floats anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

from models.iso4217 import CURRENCIES
from services.core.errors import Invalid

MAX_MINOR = 2**63 - 1
_MAX_EXPONENT = 20  # of ten; more does not fit into 64 bits in any currency
_MAX_DIGITS = 60
_DECIMALS = {code: facts[0] for code, facts in CURRENCIES.items()}
_EXACT = Context(prec=_MAX_DIGITS, rounding=ROUND_HALF_UP)


class Money(NamedTuple):
    """An amount in minor units of a currency."""

    minor_units: int
    currency: str

    @property
    def exponent(self) -> int:
        """Number of decimal places of the currency."""
        return exponent(self.currency)

    @property
    def value(self) -> Decimal:
        """The amount in major units, with all decimal places of the currency."""
        return Decimal(self.minor_units).scaleb(-self.exponent, _EXACT)

    @property
    def text(self) -> str:
        """The value as text. Written without Decimal for speed: a response has hundreds of amounts."""
        amount_minor, currency = self
        decimals = _DECIMALS[currency]
        if not decimals:
            return str(amount_minor)
        if amount_minor < 0:
            return "-" + Money(-amount_minor, currency).text
        digits = str(amount_minor)
        if len(digits) <= decimals:
            digits = digits.rjust(decimals + 1, "0")
        return f"{digits[:-decimals]}.{digits[-decimals:]}"


@dataclass(frozen=True)
class UncheckedAmount:
    """An amount as a client sends it: in major units, not yet checked."""

    value: Decimal
    currency: str


def exponent(currency: str) -> int:
    """Return the number of decimal places of a supported currency."""
    return _DECIMALS[currency]


def require_currency(code: str, *, field: str) -> str:
    """Check a currency code and return it.

    Raises:
        Invalid: no supported currency has this code.
    """
    if code not in CURRENCIES:
        raise Invalid(f"{code[:10]!r} is not a currency code.", field=field)
    return code


def to_minor(amount: UncheckedAmount, *, field: str, currency: str | None = None) -> int:
    """Convert a positive amount to minor units.

    Raises:
        Invalid: the amount is in a currency other than `currency`, not a number, not above zero, too large
            for 64 bits, or has more decimal places than its currency.
    """
    require_currency(amount.currency, field=f"{field}.currency")
    if currency is not None and amount.currency != currency:
        raise Invalid(f"The amount must be in {currency}, not {amount.currency}.", field=f"{field}.currency")
    value, field = amount.value, f"{field}.value"
    if not value.is_finite():
        raise Invalid("The amount must be a finite number.", field=field)
    if value <= 0:
        raise Invalid("The amount must be greater than zero.", field=field)
    if value.adjusted() > _MAX_EXPONENT:  # checked first, so that no huge power is computed
        raise Invalid("The amount is too large.", field=field)
    if len(value.as_tuple().digits) > _MAX_DIGITS:  # more would be rounded
        raise Invalid("The amount has too many digits.", field=field)
    decimals = exponent(amount.currency)
    scaled = value.scaleb(decimals, _EXACT)
    amount_minor = scaled.to_integral_value(context=_EXACT)
    if amount_minor != scaled:
        raise Invalid(f"{amount.currency} has {decimals} decimal places.", field=field)
    if amount_minor > MAX_MINOR:
        raise Invalid("The amount is too large.", field=field)
    return int(amount_minor)


def to_minor_or_zero(amount: UncheckedAmount, *, field: str, currency: str) -> int:
    """Convert an amount that may also be zero to minor units; otherwise as `to_minor`."""
    if amount.value.is_zero() and amount.currency == currency:
        return 0
    return to_minor(amount, field=field, currency=currency)


def round_half_away(value: Decimal) -> int:
    """Round to a whole number, half away from zero."""
    return int(value.to_integral_value(rounding=ROUND_HALF_UP, context=_EXACT))


def apply_bps(amount_minor: int, bps: int) -> int:
    """Return `bps` ten-thousandths of the amount, rounded half away from zero."""
    return round_half_away(_EXACT.divide(Decimal(amount_minor * bps), Decimal(10_000)))


def convert(amount_minor: int, rate: Decimal, *, source: str, target: str) -> int:
    """Convert minor units of `source` to minor units of `target`; `rate` is between major units."""
    shift = exponent(target) - exponent(source)
    return round_half_away(_EXACT.multiply(Decimal(amount_minor), rate).scaleb(shift, _EXACT))


def convert_back(amount_minor: int, rate: Decimal, *, source: str, target: str) -> int:
    """Undo `convert` at the same rate: from minor units of `target` to those of `source`."""
    shift = exponent(source) - exponent(target)
    return round_half_away(_EXACT.divide(Decimal(amount_minor), rate).scaleb(shift, _EXACT))


def allocate(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Split a total in proportion to non-negative weights, by largest remainder.

    Ties go to the first. The parts add up to the total. No part exceeds its weight if the total does not
    exceed the sum of the weights.
    """
    weight_sum = sum(weights)
    if weight_sum == 0:
        return [0 for _ in weights]
    parts = [total_minor * weight // weight_sum for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total_minor * weights[i] % weight_sum), i))
    for i in by_remainder[: total_minor - sum(parts)]:
        parts[i] += 1
    return parts
