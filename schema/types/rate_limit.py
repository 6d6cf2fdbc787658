"""The cost budget of a client."""

from datetime import UTC, datetime, timedelta

import strawberry

from resolvers.context import Info


@strawberry.type(description="Cost budget of a user or network address, in points.")
class RateLimit:
    cost: int = strawberry.field(description="Maximum cost of this operation, in points.")
    limit: int = strawberry.field(description="Maximum number of points in the budget.")
    remaining: int = strawberry.field(description="Points left after this operation.")
    used: int = strawberry.field(description="Points used from the budget.")
    reset_at: datetime = strawberry.field(
        description="When the budget is full again if nothing more is used."
    )


@strawberry.type
class RateLimitQueries:
    @strawberry.field(description="Your remaining cost budget. Null if costs are not limited.")
    def rate_limit(self, info: Info) -> RateLimit | None:
        charge = info.context.charge
        if charge is None:
            return None
        left = charge.remaining
        return RateLimit(
            cost=charge.cost,
            limit=charge.limit,
            remaining=left,
            used=charge.limit - left,
            reset_at=datetime.now(UTC) + timedelta(seconds=charge.reset_seconds(left)),
        )
