"""Clearing limits, and settlements between hosts."""

from typing import Any
from uuid import UUID

import strawberry

import models
from models.settlement import SettlementSubject
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, answer_order_payload, answer_payload
from schema.types.clearing import Clearing
from schema.types.money import AmountInput, to_optional_unchecked, to_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.order import Order
from services.ledger import clearing
from services.orders import settlements


@strawberry.input(description="A limit of what one host may owe another.")
class SetClearingLimitInput:
    host: CollectiveRef = strawberry.field(description="The creditor. You must be an admin of it.")
    counterpart: CollectiveRef = strawberry.field(
        description="The other host, which may owe up to the limit."
    )
    amount: AmountInput = strawberry.field(
        description="Maximum to be owed, in the currency of `host`. Zero for nothing."
    )


@strawberry.type(description="The clearing with the new limit.")
class SetClearingLimitPayload(Payload):
    clearing: Clearing | None = strawberry.field(
        default=None, description="The clearing between the two, with the new limit."
    )


@strawberry.input(description="A payment from host to host.")
class SettleHostsInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(
        name="from", description="The debtor. You must be an admin of it."
    )
    to: CollectiveRef = strawberry.field(description="The creditor, which confirms the receipt.")
    amount: AmountInput = strawberry.field(
        description="Amount settled, in the creditor's currency: at most what is owed."
    )
    reference: str = strawberry.field(
        description="Bank reference by which the creditor finds the payment, at most 140 characters."
    )
    paid: AmountInput | None = strawberry.field(
        default=None,
        description="Amount that the debtor's bank paid, in the debtor's currency. Required if that is "
        "another one than the creditor's.",
    )
    covers: SettlementSubject = strawberry.field(
        default=SettlementSubject.CLEARING,
        description="Debt to settle. PLATFORM_FEES only where the creditor is the platform.",
    )
    description: str | None = strawberry.field(default=None, description="Note for both sides.")


@strawberry.type(description="The order of the settlement, PENDING.")
class SettleHostsPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the settlement.")


@strawberry.type
class ClearingMutations:
    @strawberry.mutation(
        description="Set how much another host may owe a host for payments between their books. A limit "
        "below what is owed lets that stand, and nothing more. Allowed for admins of the creditor. Errors: "
        "INVALID_STATE."
    )
    async def set_clearing_limit(self, info: Info, input: SetClearingLimitInput) -> SetClearingLimitPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                clearing.set_clearing_limit,
                host=to_key(input.host),
                counterpart=to_key(input.counterpart),
                amount=to_unchecked(input.amount),
            )
            return {"clearing": row}

        return await answer_payload(info, SetClearingLimitPayload, work)

    @strawberry.mutation(
        description="Record a bank payment to another host of what is owed to it. It is settled once an "
        "admin of the creditor approves its receipt (`approveOrder`). Allowed for admins of the debtor. "
        "Errors: INVALID_STATE."
    )
    async def settle_hosts(self, info: Info, input: SettleHostsInput) -> SettleHostsPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                settlements.settle,
                order_id=order_id,
                from_=to_key(input.from_),
                to=to_key(input.to),
                amount=to_unchecked(input.amount),
                reference=input.reference,
                paid=to_optional_unchecked(input.paid),
                covers=input.covers,
                description=input.description,
            )

        return await answer_order_payload(info, SettleHostsPayload, input, "settleHosts", work)
