"""Deciding, paying, withdrawing and refunding orders."""

from typing import Any
from uuid import UUID

import strawberry

from models import new_id
from resolvers import bulk_approvals as resolve
from resolvers import commands
from resolvers.context import Info
from schema.mutations.payload import ERRORS, MoneyInput, Payload, content, perform, perform_order
from schema.types.errors import UserError, user_error
from schema.types.money import AmountInput, asked_or_none
from schema.types.order import Order
from schema.types.transaction import Transaction
from services.approvals import decisions
from services.core import public_ids


@strawberry.input(description="An order to approve.")
class ApproveOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="The order.")
    amount: AmountInput | None = strawberry.field(
        default=None, description="Another amount than asked for; needs a reason."
    )
    reason: str | None = strawberry.field(default=None, description="A note; why another amount.")


@strawberry.type(description="The approved order: APPROVED and held, or PAID.")
class ApproveOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="Orders to approve.")
class ApproveOrdersInput(MoneyInput):
    ids: list[strawberry.ID] = strawberry.field(description="At most 100 orders.")


@strawberry.type(description="What became of one of the orders.")
class ApproveOrdersResult:
    id: strawberry.ID = strawberry.field(description="The order's id, as given.")
    order: Order | None = strawberry.field(default=None, description="The approved order.")
    errors: list[UserError] = strawberry.field(description=ERRORS, default_factory=list)


@strawberry.type(description="A result for each order, in the order given.")
class ApproveOrdersPayload(Payload):
    results: list[ApproveOrdersResult] = strawberry.field(default_factory=list, description="The results.")


@strawberry.input(description="An order to refuse.")
class RejectOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="The order.")
    reason: str = strawberry.field(description="Why; those concerned read it.")


@strawberry.type(description="The refused order.")
class RejectOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="An approved order that was paid.")
class PayOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="The order.")
    processor_fee: AmountInput | None = strawberry.field(
        default=None, description="What the payout cost, in the host's currency."
    )


@strawberry.type(description="The paid order.")
class PayOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="An order to withdraw.")
class CancelOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="The order.")
    reason: str | None = strawberry.field(default=None, description="Why.")


@strawberry.type(description="The withdrawn order.")
class CancelOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="A paid order to give back.")
class RefundOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="The order.")
    amount: AmountInput | None = strawberry.field(
        default=None, description="A part of it, in its currency; not given: the rest."
    )
    reason: str | None = strawberry.field(default=None, description="Why.")


@strawberry.type(description="The refunded order, and what this refund wrote.")
class RefundOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")
    transactions: list[Transaction] = strawberry.field(
        default_factory=list, description="The refund, and the host's cover of a processor's fee."
    )


@strawberry.type
class DecisionMutations:
    @strawberry.mutation(
        description="Approve an order. A donation by bank transfer: for ADMINs of the receiver's host, who "
        "saw the money; it is then PAID. An expense: for ADMINs of the payer but its maker and its payee; "
        "its amount is held, or PAID into the payee's balance. INVALID_STATE, SELF_APPROVAL, "
        "INSUFFICIENT_FUNDS."
    )
    async def approve_order(
        self,
        info: Info,
        input: ApproveOrderInput,
    ) -> ApproveOrderPayload:
        async def work(order_id: UUID) -> Any:
            return await info.context.run(
                decisions.approve,
                order_id=order_id,
                amount=asked_or_none(input.amount),
                reason=input.reason,
            )

        return await perform_order(
            info, ApproveOrderPayload, input, "approveOrder", work, order_id=_given(input.id)
        )

    @strawberry.mutation(
        description="Approve up to 100 orders, with a result for each; one that fails leaves the others."
    )
    async def approve_orders(
        self,
        info: Info,
        input: ApproveOrdersInput,
    ) -> ApproveOrdersPayload:
        async def work() -> dict[str, Any]:
            results = await resolve.approve_each(
                info,
                public_ids=[str(i) for i in input.ids],
                key=input.idempotency_key,
                dry_run=bool(input.dry_run),
            )
            return {"results": [_shown(result) for result in results]}

        return await perform(info, ApproveOrdersPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Refuse an order, with a reason; what an approved expense holds is freed. A donation: "
        "for ADMINs of the receiver's host. An expense: for ADMINs of the payer or its host. INVALID_STATE."
    )
    async def reject_order(
        self,
        info: Info,
        input: RejectOrderInput,
    ) -> RejectOrderPayload:
        async def work(order_id: UUID) -> Any:
            return await info.context.run(decisions.reject, order_id=order_id, reason=input.reason)

        return await perform_order(
            info, RejectOrderPayload, input, "rejectOrder", work, order_id=_given(input.id)
        )

    @strawberry.mutation(
        description="Record that an approved expense was paid. For ADMINs of the payer's host. "
        "INVALID_STATE, INSUFFICIENT_FUNDS, FX_RATE_UNAVAILABLE."
    )
    async def pay_order(self, info: Info, input: PayOrderInput) -> PayOrderPayload:
        async def work(order_id: UUID) -> Any:
            return await info.context.run(
                decisions.pay, order_id=order_id, processor_fee=asked_or_none(input.processor_fee)
            )

        return await perform_order(info, PayOrderPayload, input, "payOrder", work, order_id=_given(input.id))

    @strawberry.mutation(
        description="Withdraw an order that is not settled. For its maker and the ADMINs of the side it was "
        "made for. INVALID_STATE."
    )
    async def cancel_order(
        self,
        info: Info,
        input: CancelOrderInput,
    ) -> CancelOrderPayload:
        async def work(order_id: UUID) -> Any:
            return await info.context.run(decisions.cancel, order_id=order_id, reason=input.reason)

        return await perform_order(
            info, CancelOrderPayload, input, "cancelOrder", work, order_id=_given(input.id)
        )

    @strawberry.mutation(
        description="Give back a paid order, whole or in part, at its own rates. Donations and added funds: "
        "for ADMINs of the receiver's host, which covers what a processor keeps. Expenses: of the payer's "
        "host. Transfers: of the receiver or its host. INVALID_STATE, INSUFFICIENT_FUNDS."
    )
    async def refund_order(
        self,
        info: Info,
        input: RefundOrderInput,
    ) -> RefundOrderPayload:
        async def work() -> dict[str, Any]:
            order_id = public_ids.decode("Order", input.id, path=["input", "id"])
            refund_id = new_id()
            order, written = await commands.once(
                info,
                mutation="refundOrder",
                key=input.idempotency_key,
                payload=content(input),
                result_id=refund_id,
                replay=lambda i: resolve.refund_of(info, refund_id=i),
                work=lambda: resolve.refund(
                    info,
                    order_id=order_id,
                    refund_id=refund_id,
                    amount=asked_or_none(input.amount),
                    reason=input.reason,
                ),
            )
            return {"order": order, "transactions": written}

        return await perform(info, RefundOrderPayload, work, dry_run=bool(input.dry_run))


def _given(public_id: strawberry.ID) -> Any:
    return lambda: public_ids.decode("Order", public_id, path=["input", "id"])


def _shown(result: resolve.Approved) -> ApproveOrdersResult:
    problem = result.problem
    return ApproveOrdersResult(
        id=strawberry.ID(result.public_id),
        order=result.order,  # type: ignore[arg-type]  # types stand for rows
        errors=[user_error(problem)] if problem else [],
    )
