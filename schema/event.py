"""What an event has beside what every collective has: times, places, who was there."""

from datetime import datetime
from typing import Any

import strawberry

import models
from resolvers.context import Info
from schema import lazy
from schema.node import rows_of
from schema.page import After, Connection, First, requested

Row = strawberry.Parent[models.Collective]


@strawberry.type(description="That somebody was at an event; its admins, and its parent's, see it.")
class Attendance:
    is_type_of = rows_of(models.Attendance)
    checked_in_at: datetime = strawberry.field(description="When they were checked in.")
    checked_out_at: datetime | None = strawberry.field(description="When they were checked out.")

    @strawberry.field(description="Who was there.", graphql_type=lazy.USER)
    async def user(root: strawberry.Parent[models.Attendance], info: Info) -> Any:
        return await info.context.loaders.collective(root.user_id)

    @strawberry.field(description="Who checked them in.", graphql_type=lazy.optional(lazy.USER))
    async def checked_in_by(root: strawberry.Parent[models.Attendance], info: Info) -> Any:
        return await info.context.loaders.collective(root.checked_in_by_id)

    @strawberry.field(
        description="The order that credits the hours; null where you may not see it.",
        graphql_type=lazy.optional(lazy.ORDER),
    )
    async def order(root: strawberry.Parent[models.Attendance], info: Info) -> Any:
        return await info.context.loaders.order(root.order_id)


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

    @strawberry.field(description="Whether it was called off.")
    def is_cancelled(root: Row) -> bool:
        return root.cancelled_at is not None

    @strawberry.field(description="Whom attendees turn to.", graphql_type=lazy.optional(lazy.USER))
    async def coordinator(root: Row, info: Info) -> Any:
        return await info.context.loaders.collective(root.coordinator_id)

    @strawberry.field(description="How many are registered.")
    async def registration_count(root: Row, info: Info) -> int:
        return (await info.context.loaders.event_counts(root.id)).registered

    @strawberry.field(description="How many are on the waiting list.")
    async def waiting_count(root: Row, info: Info) -> int:
        return (await info.context.loaders.event_counts(root.id)).waiting

    @strawberry.field(
        description="Who was there, by arrival; for its admins and its parent's, else empty.",
        graphql_type=AttendanceConnection,
    )
    async def attendances(root: Row, info: Info, first: First = None, after: After = None) -> Any:
        page = requested(first, after)
        return AttendanceConnection(page=await info.context.loaders.attendances(root.id, page))
