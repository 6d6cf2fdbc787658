"""Caps of issuance."""

from datetime import datetime
from typing import Any

import strawberry

import models
from schema.types.enums import CapPeriod
from schema.types.fields import derived
from schema.types.money import Amount, money
from schema.types.node import rows_of
from services.ledger.transaction_amounts import CURRENTS


@strawberry.type(description="How many currents a nonprofit may issue in a period.")
class IssuanceCap:
    is_type_of = rows_of(models.IssuanceCap)
    period: CapPeriod = strawberry.field(description="The period that it counts in.")
    valid_from: datetime = strawberry.field(description="Since when it holds.")

    @derived(
        description="The most currents of a period; zero is none at all, null lifts the cap.",
        graphql_type=Amount | None,
    )
    def amount(root: strawberry.Parent[models.IssuanceCap]) -> Any:
        return money(root.amount_minor, CURRENTS)
