"""Registrations for events, invitations to them, and messages about them."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import ERRORS, Payload, answer_payload
from schema.types.collective import Event
from schema.types.enums import MemberRole
from schema.types.errors import UserError, to_user_error
from schema.types.member import Member
from schema.types.node import CollectiveRef, to_key
from services.collectives import event_registrations
from services.collectives.event_registrations import GuestResult

MESSAGE_LENGTH = "At most 2000 characters."


@strawberry.input(description="The event to register for.")
class RegisterForEventInput:
    event: CollectiveRef = strawberry.field(description="An event that you may see.")
    message: str | None = strawberry.field(
        default=None, description=f"Message to the coordinator. {MESSAGE_LENGTH}"
    )


@strawberry.type(description="Your role at the event: ATTENDEE, or WAITING if the event is full.")
class RegisterForEventPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your role at the event.")


@strawberry.input(description="The registration to cancel.")
class CancelRegistrationInput:
    event: CollectiveRef = strawberry.field(description="The event of the registration.")


@strawberry.type(description="Your former role at the event.")
class CancelRegistrationPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your former role at the event.")


@strawberry.input(description="People to register for an event, 1 to 100 in total.")
class InviteToEventInput:
    event: CollectiveRef = strawberry.field(
        description="The event. You must be an admin of it or of its parent."
    )
    emails: list[str] | None = strawberry.field(
        default=None, description="Email addresses. An unclaimed user is created for each unknown address."
    )
    users: list[CollectiveRef] | None = strawberry.field(
        default=None, description="Users to register for the event."
    )
    message: str | None = strawberry.field(
        default=None, description=f"Message to the people registered. {MESSAGE_LENGTH}"
    )
    send_mail: bool = strawberry.field(
        default=True, description="True to notify the people registered by mail."
    )


@strawberry.type(description="The outcome for one of the people invited.")
class InviteToEventResult:
    email: str | None = strawberry.field(description="The email address as given. Null for a user.")
    role: MemberRole | None = strawberry.field(
        description="Role given to the person: ATTENDEE, or WAITING if the event is full. Null on an error."
    )
    member: Member | None = strawberry.field(
        description="Membership of a user named in `users`. Null for an email address: its owner is shown to "
        "nobody before they agree."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


@strawberry.type(
    description="One result per person: first the email addresses, then the users, in input order."
)
class InviteToEventPayload(Payload):
    results: list[InviteToEventResult] = strawberry.field(
        default_factory=list, description="One result per person, in input order."
    )


@strawberry.input(description="A message about an event.")
class SendEventMessageInput:
    event: CollectiveRef = strawberry.field(description="The event that the message is about.")
    message: str = strawberry.field(description=f"Text of the message. {MESSAGE_LENGTH}")


@strawberry.type(description="The event that the message is about.")
class SendEventMessagePayload(Payload):
    event: Event | None = strawberry.field(default=None, description="The event that the message is about.")


def _to_result(guest: GuestResult) -> InviteToEventResult:
    errors: list[UserError] = [to_user_error(guest.problem)] if guest.problem else []
    member: Any = guest.member
    role = MemberRole(guest.role) if guest.role else None
    return InviteToEventResult(email=guest.email, role=role, member=member, errors=errors)


@strawberry.type
class EventRegistrationMutations:
    @strawberry.mutation(
        description="Register for an event. If it is full, you join the waiting list and are promoted "
        "when a seat becomes free. If somebody else registered you, this agrees to it: only then do "
        "others see you among the attendees. Registering again succeeds without effect. Errors: "
        "INVALID_STATE if the event is over or cancelled."
    )
    async def register_for_event(
        self,
        info: Info,
        input: RegisterForEventInput,
    ) -> RegisterForEventPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                event_registrations.register, event=to_key(input.event), message=input.message
            )
            return {"member": row}

        return await answer_payload(info, RegisterForEventPayload, work)

    @strawberry.mutation(
        description="Cancel your registration for an event, or leave its waiting list. Errors: "
        "INVALID_STATE if you are not registered, or were checked in."
    )
    async def cancel_registration(
        self,
        info: Info,
        input: CancelRegistrationInput,
    ) -> CancelRegistrationPayload:
        async def work() -> dict[str, Any]:
            return {"member": await info.context.run(event_registrations.withdraw, event=to_key(input.event))}

        return await answer_payload(info, CancelRegistrationPayload, work)

    @strawberry.mutation(
        description="Register other people for an event; if one fails, the others still succeed. Others see "
        "them only once they agree, by registering themselves or signing up. Allowed for admins of the event "
        "and of its parent. Errors: INVALID_STATE if the event is over or cancelled, RATE_LIMITED beyond the "
        "invitations of a day."
    )
    async def invite_to_event(
        self,
        info: Info,
        input: InviteToEventInput,
    ) -> InviteToEventPayload:
        async def work() -> dict[str, Any]:
            guests = await info.context.run(
                event_registrations.invite,
                event=to_key(input.event),
                emails=input.emails or (),
                users=[to_key(user) for user in input.users or ()],
                message=input.message,
                send_mail=input.send_mail,
            )
            return {"results": [_to_result(guest) for guest in guests]}

        return await answer_payload(info, InviteToEventPayload, work)

    @strawberry.mutation(
        description="Send a message about an event: from its coordinator or an admin to everybody "
        "registered, or from one of them to the coordinator. Errors: INVALID_STATE if the "
        "event was cancelled, RATE_LIMITED after 50 messages within a day."
    )
    async def send_event_message(
        self,
        info: Info,
        input: SendEventMessageInput,
    ) -> SendEventMessagePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                event_registrations.send_message, event=to_key(input.event), message=input.message
            )
            return {"event": row}

        return await answer_payload(info, SendEventMessagePayload, work)
