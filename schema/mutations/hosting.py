"""Host applications, and leaving a host."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import strawberry

import models
from resolvers import commands
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, PayloadT, answer_payload, keyed_request
from schema.types.collective import Collective
from schema.types.member import HostApplication
from schema.types.node import CollectiveRef, to_key
from services.collectives import hosting, leaving
from services.core import public_ids


@strawberry.input(description="An application to a host.")
class ApplyToHostInput:
    collective: CollectiveRef = strawberry.field(
        description="The collective that applies. You must be an admin of it."
    )
    host: CollectiveRef = strawberry.field(description="The host to apply to.")
    message: str | None = strawberry.field(default=None, description="Message to the host's admins.")


@strawberry.type(description="The new application, PENDING.")
class ApplyToHostPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The new application.")


@strawberry.input(description="A host's decision on an application.")
class DecideHostApplicationInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the application.")
    approve: bool = strawberry.field(description="True to host the applicant, false to decline.")
    reason: str | None = strawberry.field(
        default=None, description="Reason for declining, or a note on the decision."
    )


@strawberry.type(description="The decided application.")
class DecideHostApplicationPayload(Payload):
    application: HostApplication | None = strawberry.field(
        default=None, description="The decided application."
    )


@strawberry.input(description="The application to withdraw.")
class WithdrawHostApplicationInput:
    id: strawberry.ID = strawberry.field(description="ID of the application.")


@strawberry.type(description="The withdrawn application.")
class WithdrawHostApplicationPayload(Payload):
    application: HostApplication | None = strawberry.field(
        default=None, description="The withdrawn application."
    )


@strawberry.input(description="The collective that leaves its host.")
class LeaveHostInput:
    collective: CollectiveRef = strawberry.field(description="The hosted collective.")
    reason: str | None = strawberry.field(default=None, description="Reason, mailed to the other side.")


@strawberry.type(description="The collective, without a host.")
class LeaveHostPayload(Payload):
    collective: Collective | None = strawberry.field(
        default=None, description="The collective, without a host."
    )


@strawberry.input(description="The move of a collective to another host.")
class MoveToHostInput(MoneyInput):
    collective: CollectiveRef = strawberry.field(
        description="The hosted collective. You must be an admin of it."
    )
    host: CollectiveRef = strawberry.field(description="The host to move to.")
    message: str | None = strawberry.field(default=None, description="Message to the new host's admins.")


@strawberry.type(description="The application to the new host, PENDING.")
class MoveToHostPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The new application.")


async def answer_application_payload(
    info: Info,
    payload: type[PayloadT],
    input: MoneyInput,
    mutation: str,
    work: Callable[[UUID], Awaitable[models.HostApplication]],
    *,
    application_id: Callable[[], UUID] = models.new_id,
) -> PayloadT:
    """Run a mutation whose result is a host application, once per idempotency key.

    `application_id` makes or decodes the application's id, which `work` receives.
    """

    async def run_keyed() -> dict[str, Any]:
        result_id = application_id()
        row = await commands.run_once(
            info,
            keyed_request(mutation, input),
            result_id=result_id,
            work=lambda: work(result_id),
            replay=lambda earlier_id: info.context.run(hosting.load_application, application_id=earlier_id),
        )
        return {"application": row}

    return await answer_payload(info, payload, run_keyed, dry_run=bool(input.dry_run))


@strawberry.type
class HostingMutations:
    @strawberry.mutation(
        description="Ask a host to hold a collective's money. Allowed for the collective's admins. "
        "Errors: CONFLICT."
    )
    async def apply_to_host(self, info: Info, input: ApplyToHostInput) -> ApplyToHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                hosting.apply,
                collective=to_key(input.collective),
                host=to_key(input.host),
                message=input.message,
            )
            return {"application": row}

        return await answer_payload(info, ApplyToHostPayload, work)

    @strawberry.mutation(
        description="Accept or decline an application, once. A collective with another host moves with its "
        "balance, which its host then owes the new one. Allowed for admins of the host. Errors: "
        "INVALID_STATE, LIMIT_EXCEEDED, AMOUNT_TOO_SMALL, FX_RATE_UNAVAILABLE."
    )
    async def decide_host_application(
        self,
        info: Info,
        input: DecideHostApplicationInput,
    ) -> DecideHostApplicationPayload:
        async def work(application_id: UUID) -> models.HostApplication:
            return await info.context.run(
                hosting.decide,
                application_id=application_id,
                approve=input.approve,
                reason=input.reason,
            )

        return await answer_application_payload(
            info,
            DecideHostApplicationPayload,
            input,
            "decideHostApplication",
            work,
            application_id=lambda: public_ids.decode("HostApplication", input.id, field="id"),
        )

    @strawberry.mutation(
        description="Withdraw a pending application, to a host or to be one. Allowed for the applicant's "
        "admins. Errors: INVALID_STATE."
    )
    async def withdraw_host_application(
        self,
        info: Info,
        input: WithdrawHostApplicationInput,
    ) -> WithdrawHostApplicationPayload:
        async def work() -> dict[str, Any]:
            application_id = public_ids.decode("HostApplication", input.id, field="id")
            row = await info.context.run(hosting.withdraw, application_id=application_id)
            return {"application": row}

        return await answer_payload(info, WithdrawHostApplicationPayload, work)

    @strawberry.mutation(
        description="Leave the host that holds a collective's money. Allowed for admins of the collective "
        "and of its host. Errors: INVALID_STATE while a balance, a hold or an open order remains."
    )
    async def leave_host(self, info: Info, input: LeaveHostInput) -> LeaveHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                leaving.leave, collective=to_key(input.collective), reason=input.reason
            )
            return {"collective": row}

        return await answer_payload(info, LeaveHostPayload, work)

    @strawberry.mutation(
        description="Ask another host to take over a hosted collective with its balance. The move happens "
        "when an admin of the new host accepts (`decideHostApplication`). Allowed for the collective's "
        "admins. Errors: CONFLICT, INVALID_STATE."
    )
    async def move_to_host(self, info: Info, input: MoveToHostInput) -> MoveToHostPayload:
        async def work(application_id: UUID) -> models.HostApplication:
            return await info.context.run(
                leaving.request_move,
                application_id=application_id,
                collective=to_key(input.collective),
                host=to_key(input.host),
                message=input.message,
            )

        return await answer_application_payload(info, MoveToHostPayload, input, "moveToHost", work)
