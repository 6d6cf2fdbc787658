"""Issuance caps of nonprofits."""

from datetime import datetime

import strawberry

import models
from schema.types.enums import CapPeriod
from schema.types.money import fixed_currency_field
from schema.types.node import is_row_of
from services.ledger.transaction_amounts import CURRENTS


@strawberry.type(description="Limit of the currents that a nonprofit may issue in a period.")
class IssuanceCap:
    is_type_of = is_row_of(models.IssuanceCap)
    period: CapPeriod = strawberry.field(description="Period in which the issued currents count.")
    valid_from: datetime = strawberry.field(description="When the cap takes effect.")

    amount = fixed_currency_field(
        "amount_minor",
        CURRENTS,
        description="Maximum currents per period. Zero allows none; null lifts the cap.",
        is_nullable=True,
    )
