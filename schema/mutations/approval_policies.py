"""Policies of approval by two people."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.approval import ApprovalPolicy
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key
from services.collectives import approval_policies


@strawberry.input(description="The amount above which two people approve.")
class SetApprovalPolicyInput:
    collective: CollectiveRef = strawberry.field(
        description="The collective whose orders, a host also those of its collectives, two people approve."
    )
    amount: AmountInput | None = strawberry.field(
        default=None, description="Largest amount that one person approves. Null ends the policy."
    )


@strawberry.type(description="The new policy of approval by two people.")
class SetApprovalPolicyPayload(Payload):
    approval_policy: ApprovalPolicy | None = strawberry.field(default=None, description="The new policy.")


@strawberry.type
class ApprovalPolicyMutations:
    @strawberry.mutation(
        description="Set the amount above which two different admins approve an order. Of the platform, it "
        "applies to all orders. A stricter policy takes effect at once, a laxer one a day later. Only for "
        "admins of the collective. Errors: INVALID_INPUT, INVALID_STATE, NOT_FOUND."
    )
    async def set_approval_policy(
        self, info: Info, input: SetApprovalPolicyInput
    ) -> SetApprovalPolicyPayload:
        async def work() -> dict[str, Any]:
            policy = await info.context.run(
                approval_policies.set_policy,
                collective=to_key(input.collective),
                amount=to_optional_unchecked(input.amount),
            )
            return {"approval_policy": policy}

        return await answer_payload(info, SetApprovalPolicyPayload, work)
