"""Amounts in minor units, rounding, and splitting without losing a unit. No float anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import NamedTuple

from models.iso4217 import CURRENCIES
from services.core.errors import Invalid

MAX_MINOR = 2**63 - 1
_PLACES = {code: facts[0] for code, facts in CURRENCIES.items()}
_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)


class Money(NamedTuple):
    """An amount: minor units of a currency."""

    minor_units: int
    currency: str

    @property
    def exponent(self) -> int:
        """How many decimal places the currency has."""
        return exponent(self.currency)

    @property
    def value(self) -> Decimal:
        """The amount in major units, with all decimal places of the currency."""
        return Decimal(self.minor_units).scaleb(-self.exponent, _EXACT)

    @property
    def text(self) -> str:
        """The value as it is written; an answer holds hundreds."""
        minor, currency = self
        places = _PLACES[currency]
        if not places:
            return str(minor)
        if minor < 0:
            return "-" + Money(-minor, currency).text
        digits = str(minor)
        if len(digits) <= places:
            digits = digits.rjust(places + 1, "0")
        return f"{digits[:-places]}.{digits[-places:]}"


@dataclass(frozen=True)
class AskedAmount:
    """An amount as a client wrote it: major units, not yet checked."""

    value: Decimal
    currency: str


def exponent(currency: str) -> int:
    """Return the decimal places of a known currency."""
    return _PLACES[currency]


def known_currency(code: str, *, path: Sequence[str]) -> str:
    """Return the code if it names a currency.

    Raises:
        Invalid: it does not.
    """
    if code not in CURRENCIES:
        raise Invalid(f"{code[:10]!r} is not a currency code", path=path)
    return code


def to_minor(asked: AskedAmount, *, path: Sequence[str], currency: str | None = None) -> int:
    """Return a positive amount in minor units.

    Raises:
        Invalid: another currency than `currency`, not a number, not above zero, more decimal places
            than the currency has, or too large for 64 bits.
    """
    path = [*path]
    known_currency(asked.currency, path=[*path, "currency"])
    if currency is not None and asked.currency != currency:
        raise Invalid(f"The amount must be in {currency}, not {asked.currency}", path=[*path, "currency"])
    value, path = asked.value, [*path, "value"]
    if not value.is_finite():
        raise Invalid("The amount must be a finite number", path=path)
    if value <= 0:
        raise Invalid("The amount must be greater than zero", path=path)
    if value.adjusted() > 20:  # noqa: PLR2004 - beyond 64 bits in any currency; spares huge powers
        raise Invalid("The amount is too large", path=path)
    places = exponent(asked.currency)
    try:
        minor = value.scaleb(places, _EXACT)
        whole = minor.to_integral_value(context=_EXACT)
    except InvalidOperation:
        raise Invalid("The amount is not usable", path=path) from None
    if whole != minor:
        raise Invalid(f"{asked.currency} has {places} decimal places", path=path)
    if whole > MAX_MINOR:
        raise Invalid("The amount is too large", path=path)
    return int(whole)


def to_minor_or_zero(asked: AskedAmount, *, path: Sequence[str], currency: str) -> int:
    """Return an amount of zero or more in minor units, where zero means none; else as `to_minor`."""
    if asked.value.is_zero() and asked.currency == currency:
        return 0
    return to_minor(asked, path=path, currency=currency)


def round_half_away(value: Decimal) -> int:
    """Round to a whole number, half away from zero."""
    return int(value.to_integral_value(rounding=ROUND_HALF_UP, context=_EXACT))


def share(amount: int, bps: int) -> int:
    """Return `bps` ten-thousandths of the amount, rounded half away from zero."""
    return round_half_away(_EXACT.divide(Decimal(amount * bps), Decimal(10_000)))


def convert(amount: int, rate: Decimal, *, source: str, target: str) -> int:
    """Convert minor units of `source` to minor units of `target`; `rate` is between major units."""
    shift = exponent(target) - exponent(source)
    return round_half_away(_EXACT.multiply(Decimal(amount), rate).scaleb(shift, _EXACT))


def convert_back(amount: int, rate: Decimal, *, source: str, target: str) -> int:
    """Undo `convert` at the same rate: from minor units of `target` to those of `source`."""
    shift = exponent(source) - exponent(target)
    return round_half_away(_EXACT.divide(Decimal(amount), rate).scaleb(shift, _EXACT))


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to non-negative weights, by largest remainder; ties go to the first.

    The parts add up to `total`; no part is above its weight where `total` is not above their sum.
    """
    whole = sum(weights)
    if whole == 0:
        return [0 for _ in weights]
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
