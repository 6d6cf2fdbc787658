"""Check-in to and check-out of events."""

from typing import Any

import strawberry

from resolvers import check_in as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, answer_payload, keyed_request
from schema.types.member import Member
from schema.types.node import CollectiveRef, to_key, to_optional_key
from schema.types.order import Order


@strawberry.input(description="A person to check in to an event, by user or by email address.")
class CheckInInput(MoneyInput):
    event: CollectiveRef = strawberry.field(
        description="The event. You must be an admin of it or of its parent."
    )
    user: CollectiveRef | None = strawberry.field(
        default=None, description="The user to check in. Give either this or `email`."
    )
    email: str | None = strawberry.field(
        default=None,
        description="Email address of the person, who need not have an account yet. A dry run takes every "
        "address for unknown.",
    )


@strawberry.type(description="The order that credits the hours, and the attendee's role.")
class CheckInPayload(Payload):
    order: Order | None = strawberry.field(
        default=None,
        description="The HOURS order. It is PAID, or PENDING until check-out under the credit policy ACTUAL.",
    )
    member: Member | None = strawberry.field(default=None, description="The person's ATTENDEE role.")


@strawberry.input(description="A person to check out of an event.")
class CheckOutInput(MoneyInput):
    event: CollectiveRef = strawberry.field(
        description="The event. You must be an admin of it or of its parent."
    )
    user: CollectiveRef = strawberry.field(description="The user to check out.")


@strawberry.type(description="The order that credits the hours.")
class CheckOutPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The HOURS order of the attendee.")


@strawberry.type
class CheckInMutations:
    @strawberry.mutation(
        description="Check a person in to an event and credit the hours from its parent, once: repeated "
        "calls return the same order, whatever their key. Allowed for admins of the event and "
        "of its parent, but not for themselves, from the policy's `checkInMinutes` before the "
        "start on until 14 days after the event, or until its end under ACTUAL. "
        "Errors: INVALID_STATE, SELF_APPROVAL, LIMIT_EXCEEDED, CONFLICT."
    )
    async def check_in(self, info: Info, input: CheckInInput) -> CheckInPayload:
        async def work() -> dict[str, Any]:
            result = await resolve.check_in(
                info,
                keyed_request("checkIn", input),
                event=to_key(input.event),
                user=to_optional_key(input.user),
                email=input.email,
                is_trial=bool(input.dry_run),
            )
            return {"order": result.order, "member": result.member}

        return await answer_payload(info, CheckInPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Check a person out of an event, once: repeated calls return the same order. Hours "
        "pending until check-out are PAID, at most for the whole event. Allowed for admins of "
        "the event and of its parent, but not for themselves. Errors: INVALID_STATE if the "
        "person was not checked in."
    )
    async def check_out(self, info: Info, input: CheckOutInput) -> CheckOutPayload:
        async def work() -> dict[str, Any]:
            order = await resolve.check_out(
                info,
                keyed_request("checkOut", input),
                event=to_key(input.event),
                user=to_key(input.user),
            )
            return {"order": order}

        return await answer_payload(info, CheckOutPayload, work, dry_run=bool(input.dry_run))
