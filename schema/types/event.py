"""What an event has beside what every collective has: times, places, who was there."""

from datetime import datetime
from typing import Any

import strawberry

import models
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import After, Connection, First, requested
from schema.types.fields import derived, reference, relation
from schema.types.node import rows_of

Row = strawberry.Parent[models.Collective]
Rows = list[models.Collective]


@strawberry.type(description="That somebody was at an event; its admins, and its parent's, see it.")
class Attendance:
    is_type_of = rows_of(models.Attendance)
    checked_in_at: datetime = strawberry.field(description="When they were checked in.")
    checked_out_at: datetime | None = strawberry.field(description="When they were checked out.")

    user = reference("collective", "user_id", description="Who was there.", graphql_type=lazy.USER)

    checked_in_by = reference(
        "collective",
        "checked_in_by_id",
        description="Who checked them in.",
        graphql_type=lazy.optional(lazy.USER),
    )

    order = reference(
        "order",
        "order_id",
        description="The order that credits the hours; null where you may not see it.",
        graphql_type=lazy.optional(lazy.ORDER),
    )


@strawberry.type(description="A page of those who were at an event.")
class AttendanceConnection(Connection[Attendance]):
    pass


@strawberry.type(description="What an event has beside what every collective has.")
class EventFields:
    starts_at: datetime = strawberry.field(description="When it starts.")
    ends_at: datetime = strawberry.field(description="When it ends.")
    capacity: int | None = strawberry.field(description="How many can come; null is no limit.")
    is_public: bool = strawberry.field(
        description="Whether everybody sees it, or its members and its parent's admins alone."
    )
    credit_policy: str | None = strawberry.field(
        description="What hours an attendee is credited: FULL_EVENT or ACTUAL."
    )
    cancelled_at: datetime | None = strawberry.field(description="When it was called off.")

    @derived("cancelled_at", description="Whether it was called off.")
    def is_cancelled(root: Row) -> bool:
        return root.cancelled_at is not None

    coordinator = reference(
        "collective",
        "coordinator_id",
        description="Whom attendees turn to.",
        graphql_type=lazy.optional(lazy.USER),
    )

    @relation("id", description="How many are registered.", graphql_type=int)
    async def registration_count(rows: Rows, info: Info) -> Any:
        return [counts.registered for counts in await resolve.counts(rows, info)]

    @relation("id", description="How many are on the waiting list.", graphql_type=int)
    async def waiting_count(rows: Rows, info: Info) -> Any:
        return [counts.waiting for counts in await resolve.counts(rows, info)]

    @relation(
        "id",
        description="Who was there, by arrival; for its admins and its parent's, else empty.",
        graphql_type=AttendanceConnection,
    )
    async def attendances(rows: Rows, info: Info, first: First = None, after: After = None) -> Any:
        loader = info.context.loaders.of("attendances", page=requested(first, after))
        return [AttendanceConnection(page=page) for page in await loader.load_many([row.id for row in rows])]
