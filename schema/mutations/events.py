"""Events: making, editing, calling off, coming, inviting, writing."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import ERRORS, Payload, perform
from schema.types.collective import Event
from schema.types.errors import UserError, user_error
from schema.types.member import Member
from schema.types.node import CollectiveRef, ref, ref_or_none
from services.collectives import event_registrations, events
from services.collectives.event_registrations import Invited

MESSAGE = "At most 2000 characters."


@strawberry.input(description="A new event.")
class CreateEventInput:
    parent: CollectiveRef = strawberry.field(description="Whose event; you are ADMIN of it.")
    name: str = strawberry.field(description="What people call it.")
    starts_at: datetime = strawberry.field(description="When it starts.")
    ends_at: datetime = strawberry.field(description="When it ends.")
    timezone: str | None = strawberry.field(
        default=None, description="Its time zone, by IANA name; the parent's if not given."
    )
    location: str | None = strawberry.field(default=None, description="Where it is.")
    description: str | None = strawberry.field(default=None, description="What it is about.")
    is_public: bool = strawberry.field(
        default=True, description="False hides it from all but its members and the parent's admins."
    )
    capacity: int | None = strawberry.field(default=None, description="How many can come.")
    credit_policy: str | None = strawberry.field(
        default=None, description="FULL_EVENT (as if not given) or ACTUAL."
    )
    coordinator: CollectiveRef | None = strawberry.field(
        default=None, description="Whom attendees turn to: an ADMIN of the parent; you, if not given."
    )


@strawberry.type(description="The new event; you are its first ADMIN.")
class CreateEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The event.")


@strawberry.input(description="What to change; what is not given stays.")
class UpdateEventInput:
    event: CollectiveRef = strawberry.field(description="Which one.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Its name.")
    description: str | None = strawberry.field(default=strawberry.UNSET, description="What it is about.")
    starts_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="When it starts.")
    ends_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="When it ends.")
    timezone: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its time zone, by IANA name."
    )
    location: str | None = strawberry.field(default=strawberry.UNSET, description="Where it is.")
    is_public: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="False hides it from all but its members and the parent's admins.",
    )
    capacity: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="How many can come, at least as many as are registered; null is no limit.",
    )
    credit_policy: str | None = strawberry.field(
        default=strawberry.UNSET, description="FULL_EVENT or ACTUAL, for those checked in from now on."
    )
    coordinator: CollectiveRef | None = strawberry.field(
        default=strawberry.UNSET, description="Whom attendees turn to: an ADMIN of it or of its parent."
    )


@strawberry.type(description="The changed event.")
class UpdateEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The event.")


@strawberry.input(description="An event to call off.")
class CancelEventInput:
    event: CollectiveRef = strawberry.field(description="Which one.")
    reason: str | None = strawberry.field(
        default=None, description=f"Why; those who were registered read it. {MESSAGE}"
    )


@strawberry.type(description="The event that does not take place.")
class CancelEventPayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The event.")


@strawberry.input(description="An event to come to.")
class RegisterForEventInput:
    event: CollectiveRef = strawberry.field(description="Which one; you see it.")
    message: str | None = strawberry.field(
        default=None, description=f"A message to the coordinator. {MESSAGE}"
    )


@strawberry.type(description="Your role: ATTENDEE, or WAITING where the event is full.")
class RegisterForEventPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your role.")


@strawberry.input(description="An event that you cannot come to.")
class CancelRegistrationInput:
    event: CollectiveRef = strawberry.field(description="Which one.")


@strawberry.type(description="Your role that was.")
class CancelRegistrationPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your role, ended.")


@strawberry.input(description="People to register, 1 to 100 in all.")
class InviteToEventInput:
    event: CollectiveRef = strawberry.field(description="You are ADMIN of it or of its parent.")
    emails: list[str] | None = strawberry.field(
        default=None, description="Addresses; whose is not known becomes a user known by it alone."
    )
    users: list[CollectiveRef] | None = strawberry.field(default=None, description="Users.")
    message: str | None = strawberry.field(default=None, description=f"A message to them. {MESSAGE}")
    send_mail: bool = strawberry.field(default=True, description="Whether they hear of it by mail.")


@strawberry.type(description="What became of one of those invited.")
class InviteToEventResult:
    email: str | None = strawberry.field(description="The address as given; null for a user.")
    member: Member | None = strawberry.field(
        description="Their role: ATTENDEE, or WAITING where the event is full."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


@strawberry.type(description="A result for each: first the addresses, then the users, in the order given.")
class InviteToEventPayload(Payload):
    results: list[InviteToEventResult] = strawberry.field(default_factory=list, description="The results.")


@strawberry.input(description="A message about an event.")
class SendEventMessageInput:
    event: CollectiveRef = strawberry.field(description="Which event.")
    message: str = strawberry.field(description=f"The message. {MESSAGE}")


@strawberry.type(description="The event that the message was about.")
class SendEventMessagePayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The event.")


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


def _result(done: Invited) -> InviteToEventResult:
    errors: list[UserError] = [user_error(done.problem)] if done.problem else []
    member: Any = done.member
    return InviteToEventResult(email=done.email, member=member, errors=errors)


@strawberry.type
class EventMutations:
    @strawberry.mutation(
        description="Make an event. For ADMINs of its parent. Another coordinator gets a mail."
    )
    async def create_event(self, info: Info, input: CreateEventInput) -> CreateEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                events.create,
                parent=ref(input.parent),
                name=input.name,
                starts_at=input.starts_at,
                ends_at=input.ends_at,
                timezone=input.timezone,
                location=input.location,
                description=input.description,
                is_public=input.is_public,
                capacity=input.capacity,
                credit_policy=input.credit_policy,
                coordinator=ref_or_none(input.coordinator),
            )
            return {"event": row}

        return await perform(info, CreateEventPayload, work)

    @strawberry.mutation(
        description="Change an event before its end. For its ADMINs and its parent's. Those registered hear "
        "of another time or place; a larger capacity moves people up from the waiting list. INVALID_STATE."
    )
    async def update_event(self, info: Info, input: UpdateEventInput) -> UpdateEventPayload:
        changes = {
            name: value for name in _EDITABLE if (value := getattr(input, name)) is not strawberry.UNSET
        }
        if "coordinator" in changes:
            changes["coordinator"] = ref_or_none(input.coordinator)

        async def work() -> dict[str, Any]:
            return {"event": await info.context.run(events.edit, event=ref(input.event), changes=changes)}

        return await perform(info, UpdateEventPayload, work)

    @strawberry.mutation(
        description="Call an event off, before anybody was checked in: ends all registrations, with a mail. "
        "For its ADMINs and its parent's. INVALID_STATE."
    )
    async def cancel_event(self, info: Info, input: CancelEventInput) -> CancelEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(events.cancel, event=ref(input.event), reason=input.reason)
            return {"event": row}

        return await perform(info, CancelEventPayload, work)

    @strawberry.mutation(
        description="Register for an event; where it is full you wait, and move up when a place gets free. "
        "Registered already is well, too. INVALID_STATE: it is over or cancelled."
    )
    async def register_for_event(
        self,
        info: Info,
        input: RegisterForEventInput,
    ) -> RegisterForEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                event_registrations.register, event=ref(input.event), message=input.message
            )
            return {"member": row}

        return await perform(info, RegisterForEventPayload, work)

    @strawberry.mutation(
        description="Give your place at an event back, or stop waiting. INVALID_STATE: you are not "
        "registered, or were checked in."
    )
    async def cancel_registration(
        self,
        info: Info,
        input: CancelRegistrationInput,
    ) -> CancelRegistrationPayload:
        async def work() -> dict[str, Any]:
            return {"member": await info.context.run(event_registrations.withdraw, event=ref(input.event))}

        return await perform(info, CancelRegistrationPayload, work)

    @strawberry.mutation(
        description="Register others for an event; one that fails leaves the others. For its ADMINs and its "
        "parent's. INVALID_STATE: it is over or cancelled."
    )
    async def invite_to_event(
        self,
        info: Info,
        input: InviteToEventInput,
    ) -> InviteToEventPayload:
        async def work() -> dict[str, Any]:
            done = await info.context.run(
                event_registrations.invite,
                event=ref(input.event),
                emails=input.emails or (),
                users=[ref(user) for user in input.users or ()],
                message=input.message,
                send_mail=input.send_mail,
            )
            return {"results": [_result(one) for one in done]}

        return await perform(info, InviteToEventPayload, work)

    @strawberry.mutation(
        description="Write about an event: its coordinator and ADMINs to all who are registered, one of "
        "those to the coordinator. INVALID_STATE: it was cancelled. RATE_LIMITED after 50 within a day."
    )
    async def send_event_message(
        self,
        info: Info,
        input: SendEventMessageInput,
    ) -> SendEventMessagePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                event_registrations.send_message, event=ref(input.event), message=input.message
            )
            return {"event": row}

        return await perform(info, SendEventMessagePayload, work)
