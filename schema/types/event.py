"""Fields that only events have, and attendances."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import CreditPolicy
from schema.types.fields import batched, computed, to_one
from schema.types.node import is_row_of
from services.collectives import event_capacity
from services.sql_json.shape import Column, Derived

Row = strawberry.Parent[models.Collective]
Rows = list[models.Collective]


@strawberry.type(
    description="A person's attendance at an event. Visible to admins of the event and of its parent."
)
class Attendance:
    is_type_of = is_row_of(models.Attendance)
    checked_in_at: datetime = strawberry.field(description="When the person was checked in.")
    checked_out_at: datetime | None = strawberry.field(description="When the person was checked out.")

    user = to_one(
        Loaders.collective, "user_id", description="The person who attended.", graphql_type=lazy.USER
    )

    checked_in_by = to_one(
        Loaders.collective,
        "checked_in_by_id",
        description="The user who checked the person in.",
        graphql_type=lazy.nullable(lazy.USER),
    )

    order = to_one(
        Loaders.order,
        "order_id",
        description="The order that credits the hours. Null if you may not see it.",
        graphql_type=lazy.nullable(lazy.ORDER),
    )


@strawberry.type(description="A page of attendances.")
class AttendanceConnection(Connection[Attendance]):
    pass


@strawberry.type(description="The fields that only events have.")
class EventFields:
    starts_at: datetime = strawberry.field(description="When the event starts.")
    ends_at: datetime = strawberry.field(description="When the event ends.")
    capacity: int | None = strawberry.field(description="Maximum number of attendees. Null if unlimited.")
    is_public: bool = strawberry.field(
        description="True if everybody can see the event; false if only its members and its parent's "
        "admins can."
    )

    @computed(
        shape=Column("bare_text", "credit_policy"),
        description="Hours credited to attendees.",
    )
    def hours_credit(root: Row) -> CreditPolicy | None:
        return CreditPolicy(root.credit_policy) if root.credit_policy else None

    credit_policy: str | None = strawberry.field(
        deprecation_reason="2026-11-28: Use hoursCredit; removal 2027-06-01",
        description="Hours credited to attendees: FULL_EVENT or ACTUAL.",
    )
    cancelled_at: datetime | None = strawberry.field(description="When the event was cancelled.")

    @computed(
        shape=Column("is_set", "cancelled_at"),
        description="True if the event was cancelled.",
    )
    def is_cancelled(root: Row) -> bool:
        return root.cancelled_at is not None

    coordinator = to_one(
        Loaders.collective,
        "coordinator_id",
        description="Contact person for attendees.",
        graphql_type=lazy.nullable(lazy.USER),
    )

    @batched(
        shape=Derived(event_capacity.select_counts, Column("number", "registered")),
        description="Number of registered attendees.",
        graphql_type=int,
    )
    async def registration_count(rows: Rows, info: Info) -> list[int]:
        return [counts.registered for counts in await resolve.load_registration_counts(rows, info)]

    @batched(
        shape=Derived(event_capacity.select_counts, Column("number", "waiting")),
        description="Number of people on the waiting list.",
        graphql_type=int,
    )
    async def waiting_count(rows: Rows, info: Info) -> list[int]:
        return [counts.waiting for counts in await resolve.load_registration_counts(rows, info)]

    @batched(
        shape=sql_lists.ATTENDANCES,
        description="Attendances at the event, by check-in time. Visible to admins of the event and of "
        "its parent; empty for others.",
        graphql_type=AttendanceConnection | None,
    )
    async def attendances(
        rows: Rows,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[AttendanceConnection]:
        pages = await resolve.list_attendances(rows, info, page=to_page_request(first, after, last, before))
        return [AttendanceConnection(page=page) for page in pages]
