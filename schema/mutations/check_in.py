"""Check-in and check-out at events."""

from typing import Any
from uuid import UUID

import strawberry

from models import new_id
from resolvers import commands
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, content, perform
from schema.types.member import Member
from schema.types.node import CollectiveRef, ref, ref_or_none
from schema.types.order import Order
from services.volunteering import check_in as check_in_service


@strawberry.input(description="Somebody who is at an event: a user, or an address.")
class CheckInInput(MoneyInput):
    event: CollectiveRef = strawberry.field(description="You are ADMIN of it or of its parent.")
    user: CollectiveRef | None = strawberry.field(default=None, description="Who; or an email.")
    email: str | None = strawberry.field(
        default=None, description="The address of somebody who need not be here yet."
    )


@strawberry.type(description="What credits the hours, and that the user attends.")
class CheckInPayload(Payload):
    order: Order | None = strawberry.field(
        default=None, description="The order of HOURS: PAID, or by the policy ACTUAL PENDING until check-out."
    )
    member: Member | None = strawberry.field(default=None, description="The role ATTENDEE.")


@strawberry.input(description="Somebody who leaves an event.")
class CheckOutInput(MoneyInput):
    event: CollectiveRef = strawberry.field(description="You are ADMIN of it or of its parent.")
    user: CollectiveRef = strawberry.field(description="Who was checked in.")


@strawberry.type(description="What credits the hours.")
class CheckOutPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of HOURS.")


@strawberry.type
class AttendanceMutations:
    @strawberry.mutation(
        description="Note that somebody is at an event, and credit the hours from its parent, once: repeated "
        "calls, under whichever key, return the same order. For ADMINs of the event and its parent, but not "
        "for themselves; from the policy's minutes before the start on, afterwards too. INVALID_STATE, "
        "SELF_APPROVAL, LIMIT_EXCEEDED, CONFLICT."
    )
    async def check_in(self, info: Info, input: CheckInInput) -> CheckInPayload:
        async def checked_in(order_id: UUID) -> check_in_service.CheckedIn:
            return await info.context.run(
                check_in_service.check_in,
                order_id=order_id,
                event=ref(input.event),
                user=ref_or_none(input.user),
                email=input.email,
            )

        async def work() -> dict[str, Any]:
            result_id = new_id()
            done = await commands.once(
                info,
                mutation="checkIn",
                key=input.idempotency_key,
                payload=content(input),
                result_id=result_id,
                work=lambda: checked_in(result_id),
                # Who was checked in has one order, which need not be the one of this key.
                replay=lambda _: checked_in(new_id()),
            )
            return {"order": done.order, "member": done.member}

        return await perform(info, CheckInPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Note that somebody leaves an event, once: repeated calls return the same order. Hours "
        "that waited for it are PAID, at most the whole event. For ADMINs of the event and its parent, but "
        "not for themselves. INVALID_STATE: not checked in."
    )
    async def check_out(self, info: Info, input: CheckOutInput) -> CheckOutPayload:
        async def checked_out() -> Any:
            return await info.context.run(
                check_in_service.check_out, event=ref(input.event), user=ref(input.user)
            )

        async def work() -> dict[str, Any]:
            order = await commands.once(
                info,
                mutation="checkOut",
                key=input.idempotency_key,
                payload=content(input),
                result_id=new_id(),
                work=checked_out,
                replay=lambda _: checked_out(),
            )
            return {"order": order}

        return await perform(info, CheckOutPayload, work, dry_run=bool(input.dry_run))
