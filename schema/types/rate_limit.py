"""The cost budget of a client."""

from datetime import datetime

import strawberry

from resolvers.context import Info
from schema.types.fields import shaped
from schema.types.node import is_row_of
from services.access import rate_budget
from services.access.rate_budget import ChargeFacts, select_budget
from services.sql_json.arguments import ListArguments
from services.sql_json.shape import Selects


@strawberry.type(description="Cost budget of a user or network address, in points.")
class RateLimit:
    is_type_of = is_row_of(rate_budget.RateLimit)
    cost: int = strawberry.field(description="Maximum cost of this operation, in points.")
    limit: int = strawberry.field(description="Maximum number of points in the budget.")
    remaining: int = strawberry.field(description="Points left after this operation.")
    used: int = strawberry.field(description="Points used from the budget.")
    reset_at: datetime = strawberry.field(
        description="When the budget is full again if nothing more is used."
    )


@strawberry.type
class RateLimitQueries:
    @strawberry.field(
        description="Your remaining cost budget. Null if costs are not limited.",
        graphql_type=RateLimit | None,
    )
    @shaped(Selects(lambda _: ListArguments(select_budget, ChargeFacts()), needs_table=False))
    def rate_limit(self, info: Info) -> rate_budget.RateLimit | None:
        return rate_budget.load_budget(info.context.charge)
