"""Amounts and currencies."""

from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import strawberry

from models import Currency as CurrencyRow
from schema.types.enums import CurrencyKind
from schema.types.fields import computed
from schema.types.node import is_row_of
from schema.types.scalars import BigInt, CurrencyCode
from services.core.money import Money, UncheckedAmount
from services.sql_json.shape import Amount as AmountShape


@strawberry.type(description="An exact amount of money or time.")
class Amount:
    minor_units: BigInt = strawberry.field(description="The amount in minor units of the currency.")
    currency: CurrencyCode = strawberry.field(description="Currency of the amount.")
    value: Decimal = strawberry.field(
        description="The amount in major units, with all decimal places of the currency."
    )
    exponent: int = strawberry.field(description="Number of decimal places of the currency.")


@strawberry.input(description="An amount of money or time.")
class AmountInput:
    value: Decimal = strawberry.field(
        description="Major units, greater than zero, with at most the decimal places of the currency."
    )
    currency: CurrencyCode = strawberry.field(description="Currency of the amount.")


def to_unchecked(amount: AmountInput) -> UncheckedAmount:
    """Convert an input amount for the services, which check it."""
    return UncheckedAmount(value=amount.value, currency=amount.currency)


def to_optional_unchecked(amount: AmountInput | None) -> UncheckedAmount | None:
    """Convert an optional input amount for the services, which check it."""
    return None if amount is None else to_unchecked(amount)


def optional_money(minor_units: int | None, currency: str | None) -> Money | None:
    """Return the amount of two columns that may be null."""
    return None if minor_units is None or currency is None else Money(minor_units, currency)


def amount_field(
    amount_column: str,
    currency_column: str,
    *,
    description: str,
    is_nullable: bool = False,
    name: str | None = None,
) -> Any:
    """Declare a field with the amount held in two columns; `is_nullable` if they may be null."""
    read_columns = attrgetter(amount_column, currency_column)

    @computed(
        shape=AmountShape(amount_column, currency_column),
        name=name,
        description=description,
        graphql_type=Amount | None if is_nullable else Amount,
    )
    def of_row(root: strawberry.Parent[Any]) -> Money | None:
        return optional_money(*read_columns(root))

    return of_row


def fixed_currency_field(
    amount_column: str, currency: str, *, description: str, is_nullable: bool = False
) -> Any:
    """Declare a field with the amount held in a column, whose currency is always the same."""
    read_minor = attrgetter(amount_column)

    @computed(
        shape=AmountShape(amount_column, currency=currency),
        description=description,
        graphql_type=Amount | None if is_nullable else Amount,
    )
    def of_row(root: strawberry.Parent[Any]) -> Money | None:
        return optional_money(read_minor(root), currency)

    return of_row


@strawberry.type(description="A currency from ISO 4217, or CUR, the time currency: 1.000 CUR is one hour.")
class Currency:
    is_type_of = is_row_of(CurrencyRow)
    code: CurrencyCode = strawberry.field(description="Code of the currency.")
    name: str = strawberry.field(description="English name of the currency.")
    exponent: int = strawberry.field(description="Number of decimal places of the minor unit.")
    kind: CurrencyKind = strawberry.field(description="Kind of value that the currency measures.")


@strawberry.type(description="Exchange rate between two currencies.")
class FxRate:
    base: CurrencyCode = strawberry.field(name="from", description="Currency to convert from.")
    quote: CurrencyCode = strawberry.field(name="to", description="Currency to convert to.")
    rate: Decimal = strawberry.field(description="Units of `to` per unit of `from`.")
    valid_from: datetime | None = strawberry.field(
        description="When the rate takes effect. Null for the rate of a currency to itself."
    )
    source: str = strawberry.field(
        description="Publisher of the rate: ECB, or the slug of the platform admin who set it."
    )
