"""What a client may still ask for."""

from datetime import UTC, datetime, timedelta

import strawberry

from resolvers.context import Info


@strawberry.type(description="The points of a user, or of a network address, that operations cost.")
class RateLimit:
    cost: int = strawberry.field(description="What this operation may cost at most.")
    limit: int = strawberry.field(description="How many points there are at most.")
    remaining: int = strawberry.field(description="How many are there, this operation's already taken.")
    used: int = strawberry.field(description="How many are not there.")
    reset_at: datetime = strawberry.field(description="When all are there, if none is spent.")


@strawberry.type
class RateLimitQueries:
    @strawberry.field(description="What you may still ask for; null where nothing is counted.")
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
