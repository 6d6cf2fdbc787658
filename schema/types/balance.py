"""What a collective has in one currency."""

from datetime import datetime
from typing import Any

import strawberry

from schema.types.money import Amount
from schema.types.scalars import CurrencyCode
from services.ledger.balances import Balance as BalanceRow


@strawberry.type(description="What a collective has in one currency at a moment.")
class Balance:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """A balance as the service computes it."""
        return isinstance(obj, BalanceRow)

    currency: CurrencyCode = strawberry.field(description="The currency.")
    posted: Amount = strawberry.field(description="The sum of what was posted.")
    held: Amount = strawberry.field(
        description="Set aside for what is not settled: approved expenses, redemptions that wait, cash-outs."
    )
    available: Amount = strawberry.field(description="What can be spent: posted - held.")
    pending: Amount = strawberry.field(
        description="What orders on their way would add; zero for a moment in the past."
    )
    as_of: datetime = strawberry.field(description="The moment.")
