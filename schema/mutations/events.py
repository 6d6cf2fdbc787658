"""Creating, editing and cancelling events."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.event_registrations import MESSAGE_LENGTH
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Event
from schema.types.enums import CreditPolicy
from schema.types.node import CollectiveRef, to_key, to_optional_key
from services.collectives import events


@strawberry.input(description="The event to create.")
class CreateEventInput:
    parent: CollectiveRef = strawberry.field(
        description="The organizing collective. You must be an admin of it."
    )
    name: str = strawberry.field(description="Display name of the event.")
    starts_at: datetime = strawberry.field(
        description="When the event starts: at most a year ago, at most 5 years ahead."
    )
    ends_at: datetime = strawberry.field(
        description="When the event ends: at most 14 days after its start, at most 5 years ahead."
    )
    timezone: str | None = strawberry.field(
        default=None, description="IANA name of the event's time zone. Defaults to the parent's."
    )
    location: str | None = strawberry.field(default=None, description="Location of the event.")
    description: str | None = strawberry.field(default=None, description="Description of the event.")
    is_public: bool = strawberry.field(
        default=True, description="False to hide the event from all but its members and its parent's admins."
    )
    capacity: int | None = strawberry.field(
        default=None, description="Maximum number of attendees. Null if unlimited."
    )
    hours_credit: CreditPolicy | None = strawberry.field(
        default=None, description="Hours credited to attendees. Defaults to the whole event."
    )
    credit_policy: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use hoursCredit; removal 2027-06-01",
        description="Hours credited to attendees: FULL_EVENT (the default) or ACTUAL.",
    )
    coordinator: CollectiveRef | None = strawberry.field(
        default=None, description="Contact person for attendees, an admin of the parent. Defaults to you."
    )


@strawberry.type(description="The created event. You are its first admin.")
class CreateEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The created event.")


@strawberry.input(description="Changes to an event. Omitted fields stay unchanged.")
class UpdateEventInput:
    event: CollectiveRef = strawberry.field(description="The event to change.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Display name of the event.")
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="Description of the event."
    )
    starts_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When the event starts."
    )
    ends_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="When the event ends.")
    timezone: str | None = strawberry.field(
        default=strawberry.UNSET, description="IANA name of the event's time zone."
    )
    location: str | None = strawberry.field(default=strawberry.UNSET, description="Location of the event.")
    is_public: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="False to hide the event from all but its members and its parent's admins.",
    )
    capacity: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Maximum number of attendees, not below the number registered. Null if unlimited.",
    )
    hours_credit: CreditPolicy | None = strawberry.field(
        default=strawberry.UNSET, description="Hours credited to people checked in from now on."
    )
    credit_policy: str | None = strawberry.field(
        default=strawberry.UNSET,
        deprecation_reason="2026-11-28: Use hoursCredit; removal 2027-06-01",
        description="Hours credited to people checked in from now on: FULL_EVENT or ACTUAL.",
    )
    coordinator: CollectiveRef | None = strawberry.field(
        default=strawberry.UNSET,
        description="Contact person for attendees, an admin of the event or of its parent.",
    )


@strawberry.type(description="The updated event.")
class UpdateEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The updated event.")


@strawberry.input(description="The event to cancel.")
class CancelEventInput:
    event: CollectiveRef = strawberry.field(description="The event to cancel.")
    reason: str | None = strawberry.field(
        default=None, description=f"Reason, sent to everybody registered. {MESSAGE_LENGTH}"
    )


@strawberry.type(description="The cancelled event.")
class CancelEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The cancelled event.")


_EDITABLE = (
    "name",
    "description",
    "starts_at",
    "ends_at",
    "timezone",
    "location",
    "is_public",
    "capacity",
    "credit_policy",
    "coordinator",
)


@strawberry.type
class EventMutations:
    @strawberry.mutation(
        description="Create an event. A coordinator other than yourself is notified by mail. Allowed for "
        "admins of the parent."
    )
    async def create_event(self, info: Info, input: CreateEventInput) -> CreateEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                events.create,
                parent=to_key(input.parent),
                name=input.name,
                starts_at=input.starts_at,
                ends_at=input.ends_at,
                timezone=input.timezone,
                location=input.location,
                description=input.description,
                is_public=input.is_public,
                capacity=input.capacity,
                credit_policy=input.hours_credit or input.credit_policy,
                coordinator=to_optional_key(input.coordinator),
            )
            return {"event": row}

        return await answer_payload(info, CreateEventPayload, work)

    @strawberry.mutation(
        description="Change an event before it ends. Attendees are notified of a new time or location; a "
        "larger capacity promotes people from the waiting list. Allowed for admins of the "
        "event and of its parent; once check-in has opened, times and credit policy only for "
        "admins of the parent. What is credited stays. Errors: INVALID_STATE."
    )
    async def update_event(self, info: Info, input: UpdateEventInput) -> UpdateEventPayload:
        changes = {
            name: value for name in _EDITABLE if (value := getattr(input, name)) is not strawberry.UNSET
        }
        if input.hours_credit is not strawberry.UNSET:
            changes["credit_policy"] = input.hours_credit
        if "coordinator" in changes:
            changes["coordinator"] = to_optional_key(input.coordinator)

        async def work() -> dict[str, Any]:
            return {"event": await info.context.run(events.edit, event=to_key(input.event), changes=changes)}

        return await answer_payload(info, UpdateEventPayload, work)

    @strawberry.mutation(
        description="Cancel an event before anybody was checked in. All registrations end, and "
        "attendees are notified by mail. Allowed for admins of the event and of its parent. "
        "Errors: INVALID_STATE."
    )
    async def cancel_event(self, info: Info, input: CancelEventInput) -> CancelEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(events.cancel, event=to_key(input.event), reason=input.reason)
            return {"event": row}

        return await answer_payload(info, CancelEventPayload, work)
