"""Amounts and currencies."""

from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import strawberry

from models import Currency as CurrencyRow
from schema.types.enums import CurrencyKind
from schema.types.fields import derived, written
from schema.types.scalars import BigInt, CurrencyCode
from services.core.money import AskedAmount, Money
from services.sql_json.shape import Amount as AmountShown


@strawberry.type(description="An amount of money or time, exact.")
class Amount:
    minor_units: BigInt = strawberry.field(description="The amount in the currency's minor unit.")
    currency: CurrencyCode = strawberry.field(description="The currency.")
    value: Decimal = written(
        attrgetter("value"),
        attrgetter("text"),
        graphql_type=Decimal,
        description="The amount in major units, with all decimal places of the currency.",
    )
    exponent: int = strawberry.field(description="How many decimal places the currency has.")


@strawberry.input(description="An amount of money or time.")
class AmountInput:
    value: Decimal = strawberry.field(
        description="Major units, with at most the currency's decimal places; greater than zero."
    )
    currency: CurrencyCode = strawberry.field(description="The currency.")


def asked(amount: AmountInput) -> AskedAmount:
    """Return an amount as a service takes it."""
    return AskedAmount(value=amount.value, currency=amount.currency)


def asked_or_none(amount: AmountInput | None) -> AskedAmount | None:
    """Return an amount as a service takes it, or none."""
    return None if amount is None else asked(amount)


def money(minor_units: int | None, currency: str | None) -> Money | None:
    """Return the amount of a nullable column."""
    return None if minor_units is None or currency is None else Money(minor_units, currency)


def amount_of(minor: str, currency: str, *, description: str, is_nullable: bool = False) -> Any:
    """Return a field with the amount of two columns of the row; `is_nullable` where they may be null."""
    both = attrgetter(minor, currency)

    @derived(
        minor,
        currency,
        shown=AmountShown(minor, currency),
        description=description,
        graphql_type=Amount | None if is_nullable else Amount,
    )
    def of_row(root: strawberry.Parent[Any]) -> Any:
        return money(*both(root))

    return of_row


@strawberry.type(description="A currency by ISO 4217, or CUR, the time currency: 1.000 is an hour.")
class Currency:
    code: CurrencyCode = strawberry.field(description="The code.")
    name: str = strawberry.field(description="The name in English.")
    exponent: int = strawberry.field(description="How many decimal places the minor unit has.")
    kind: CurrencyKind = strawberry.field(description="What it measures.")

    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """A row of currencies."""
        return isinstance(obj, CurrencyRow)


@strawberry.type(description="What one unit of a currency is worth in another.")
class FxRate:
    base: CurrencyCode = strawberry.field(name="from", description="The currency converted.")
    quote: CurrencyCode = strawberry.field(name="to", description="The currency converted to.")
    rate: Decimal = strawberry.field(description="Units of `to` for one unit of `from`.")
    valid_from: datetime | None = strawberry.field(
        description="Since when it holds; null for a currency and itself."
    )
    source: str = strawberry.field(
        description="Who published it: ECB, or the slug of the platform admin who set it."
    )
