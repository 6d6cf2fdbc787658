"""Becoming a host by the platform's approval, and suspension."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Collective
from schema.types.member import HostApplication
from schema.types.node import CollectiveRef, to_key
from services.collectives import host_approvals
from services.core import public_ids


@strawberry.input(description="An application to be a host.")
class ApplyAsHostInput:
    collective: CollectiveRef = strawberry.field(
        description="The NONPROFIT or BUSINESS that applies. You must be an admin of it."
    )
    message: str | None = strawberry.field(default=None, description="Message to the platform's admins.")


@strawberry.type(description="The new application, PENDING. The applicant is its own host.")
class ApplyAsHostPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The new application.")


@strawberry.input(description="The platform's decision on an application to be a host.")
class DecideHostInput:
    id: strawberry.ID = strawberry.field(description="ID of the application.")
    approve: bool = strawberry.field(description="True to approve the host, false to decline.")
    reason: str | None = strawberry.field(
        default=None, description="Reason for declining, or a note on the decision."
    )


@strawberry.type(description="The decided application.")
class DecideHostPayload(Payload):
    application: HostApplication | None = strawberry.field(
        default=None, description="The decided application."
    )


@strawberry.input(description="The host to suspend.")
class SuspendHostInput:
    host: CollectiveRef = strawberry.field(description="The host to suspend.")
    reason: str = strawberry.field(description="Reason, mailed to the host's admins.")


@strawberry.type(description="The suspended host.")
class SuspendHostPayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The suspended host.")


@strawberry.type
class HostMutations:
    @strawberry.mutation(
        description="Ask the platform to let an organization hold its own money and that of others. A "
        "suspended host asks so to be one again. Allowed for its admins. Errors: CONFLICT, INVALID_STATE."
    )
    async def apply_as_host(self, info: Info, input: ApplyAsHostInput) -> ApplyAsHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                host_approvals.apply_as_host, collective=to_key(input.collective), message=input.message
            )
            return {"application": row}

        return await answer_payload(info, ApplyAsHostPayload, work)

    @strawberry.mutation(
        description="Approve or decline an application to be a host, once. Approval opens its book, or ends "
        "its suspension. Allowed for the platform's admins. Errors: INVALID_STATE."
    )
    async def decide_host(self, info: Info, input: DecideHostInput) -> DecideHostPayload:
        async def work() -> dict[str, Any]:
            application_id = public_ids.decode("HostApplication", input.id, field="id")
            row = await info.context.run(
                host_approvals.decide_host,
                application_id=application_id,
                approve=input.approve,
                reason=input.reason,
            )
            return {"application": row}

        return await answer_payload(info, DecideHostPayload, work)

    @strawberry.mutation(
        description="Stop new money in a host's book at once; what is there can be paid out and refunded. "
        "Allowed for the platform's admins. Errors: INVALID_STATE."
    )
    async def suspend_host(self, info: Info, input: SuspendHostInput) -> SuspendHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                host_approvals.suspend_host, host=to_key(input.host), reason=input.reason
            )
            return {"collective": row}

        return await answer_payload(info, SuspendHostPayload, work)
