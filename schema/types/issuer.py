"""Issuance caps of nonprofits."""

from datetime import datetime

import strawberry

import models
from schema.types.enums import CapPeriod
from schema.types.fields import computed
from schema.types.money import Amount, optional_money
from schema.types.node import is_row_of
from services.core.money import Money
from services.ledger.transaction_amounts import CURRENTS


@strawberry.type(description="Limit of the currents that a nonprofit may issue in a period.")
class IssuanceCap:
    is_type_of = is_row_of(models.IssuanceCap)
    period: CapPeriod = strawberry.field(description="Period in which the issued currents count.")
    valid_from: datetime = strawberry.field(description="When the cap takes effect.")

    @computed(
        description="Maximum currents per period. Zero allows none; null lifts the cap.",
        graphql_type=Amount | None,
    )
    def amount(root: strawberry.Parent[models.IssuanceCap]) -> Money | None:
        return optional_money(root.amount_minor, CURRENTS)
