"""A collective's balance in one currency."""

from datetime import datetime
from typing import Any

import strawberry

from schema.types.money import Amount
from schema.types.scalars import CurrencyCode
from services.ledger.balances import Balance as BalanceRow


@strawberry.type(description="A collective's balance in one currency at one moment.")
class Balance:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """True for balances computed by the service."""
        return isinstance(obj, BalanceRow)

    currency: CurrencyCode = strawberry.field(description="Currency of all amounts of this balance.")
    posted: Amount = strawberry.field(description="Sum of all postings to the account up to `asOf`.")
    held: Amount = strawberry.field(
        description="Amount set aside for unsettled orders: approved expenses, pending redemptions and "
        "cash-outs."
    )
    available: Amount = strawberry.field(description="Amount that can be spent: `posted` minus `held`.")
    pending: Amount = strawberry.field(
        description="Amount that incoming orders would add once settled. Zero for a moment in the past."
    )
    as_of: datetime = strawberry.field(description="The moment that this balance describes.")
