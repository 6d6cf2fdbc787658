"""Approving, rejecting, paying, cancelling and refunding orders."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import strawberry

import models
from resolvers import order_decisions as resolve
from resolvers.context import Info
from schema.mutations.payload import (
    ERRORS,
    MoneyInput,
    Payload,
    answer_order_payload,
    answer_payload,
    keyed_request,
)
from schema.types.errors import UserError, to_user_error
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.order import Order
from schema.types.transaction import Transaction
from services.approvals import decisions
from services.approvals.bulk import ApprovalResult
from services.core import public_ids


@strawberry.input(description="The order to approve.")
class ApproveOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="Amount to approve, if it differs from the requested one. Requires a reason. At most the "
        "requested amount of an expense.",
    )
    reason: str | None = strawberry.field(
        default=None, description="Note on the approval, or reason for the different amount."
    )


@strawberry.type(description="The approved order: APPROVED with its amount held, or PAID.")
class ApproveOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The approved order.")


@strawberry.input(description="The orders to approve.")
class ApproveOrdersInput(MoneyInput):
    ids: list[strawberry.ID] = strawberry.field(description="IDs of the orders, at most 100.")


@strawberry.type(description="The outcome for one of the orders.")
class ApproveOrdersResult:
    id: strawberry.ID = strawberry.field(description="ID of the order, as given.")
    order: Order | None = strawberry.field(default=None, description="The approved order.")
    errors: list[UserError] = strawberry.field(description=ERRORS, default_factory=list)


@strawberry.type(description="One result per order, in input order.")
class ApproveOrdersPayload(Payload):
    results: list[ApproveOrdersResult] = strawberry.field(
        default_factory=list, description="One result per order, in input order."
    )


@strawberry.input(description="The order to reject.")
class RejectOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    reason: str = strawberry.field(
        description="Reason for the rejection. Visible to those involved in the order."
    )


@strawberry.type(description="The rejected order.")
class RejectOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The rejected order.")


@strawberry.input(description="The approved order that was paid.")
class PayOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    processor_fee: AmountInput | None = strawberry.field(
        default=None,
        description="Fee of the payout, in the host's currency: at most 10 % of the amount or 50 units, "
        "whichever is more.",
    )


@strawberry.type(description="The paid order.")
class PayOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The paid order.")


@strawberry.input(description="The order to cancel.")
class CancelOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    reason: str | None = strawberry.field(default=None, description="Reason for the cancellation.")


@strawberry.type(description="The cancelled order.")
class CancelOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The cancelled order.")


@strawberry.input(description="The paid order to refund.")
class RefundOrderInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    amount: AmountInput | None = strawberry.field(
        default=None, description="Part to refund, in the order's currency. Defaults to the rest."
    )
    reason: str | None = strawberry.field(default=None, description="Reason for the refund.")


@strawberry.type(description="The refunded order, with the transactions of this refund.")
class RefundOrderPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The refunded order.")
    transactions: list[Transaction] = strawberry.field(
        default_factory=list, description="The refund, and the host's cover of a processor fee."
    )


@strawberry.type
class OrderDecisionMutations:
    @strawberry.mutation(
        description="Approve an order. A donation by bank transfer becomes PAID; allowed for admins of "
        "the receiver's host, who have seen the money. An expense has its amount held, or "
        "becomes PAID if paid into the payee's balance; allowed for admins of the payer, "
        "except its creator and everyone who was an admin of its payee since then, or of the "
        "payer's host if the payer has no other admin. Errors: INVALID_STATE, SELF_APPROVAL, "
        "INSUFFICIENT_FUNDS."
    )
    async def approve_order(
        self,
        info: Info,
        input: ApproveOrderInput,
    ) -> ApproveOrderPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                decisions.approve,
                order_id=order_id,
                amount=to_optional_unchecked(input.amount),
                reason=input.reason,
            )

        return await answer_order_payload(
            info, ApproveOrderPayload, input, "approveOrder", work, order_id=order_id_of(input.id)
        )

    @strawberry.mutation(
        description="Approve up to 100 orders, with a result for each; if one fails, the others still "
        "succeed."
    )
    async def approve_orders(
        self,
        info: Info,
        input: ApproveOrdersInput,
    ) -> ApproveOrdersPayload:
        async def work() -> dict[str, Any]:
            results = await resolve.approve_many(
                info, order_ids=[str(i) for i in input.ids], key=input.idempotency_key
            )
            return {"results": [_to_result(result) for result in results]}

        return await answer_payload(info, ApproveOrdersPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Reject an order, with a reason, and release the amount held for it. Donations: "
        "allowed for admins of the receiver's host. Expenses: for admins of the payer or its "
        "host. Errors: INVALID_STATE."
    )
    async def reject_order(
        self,
        info: Info,
        input: RejectOrderInput,
    ) -> RejectOrderPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(decisions.reject, order_id=order_id, reason=input.reason)

        return await answer_order_payload(
            info, RejectOrderPayload, input, "rejectOrder", work, order_id=order_id_of(input.id)
        )

    @strawberry.mutation(
        description="Record that an approved expense was paid. Allowed for admins of the payer's host. "
        "Errors: INVALID_STATE, INSUFFICIENT_FUNDS, FX_RATE_UNAVAILABLE."
    )
    async def pay_order(self, info: Info, input: PayOrderInput) -> PayOrderPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                decisions.pay, order_id=order_id, processor_fee=to_optional_unchecked(input.processor_fee)
            )

        return await answer_order_payload(
            info, PayOrderPayload, input, "payOrder", work, order_id=order_id_of(input.id)
        )

    @strawberry.mutation(
        description="Cancel an order that is not settled. Allowed for its creator and for admins of the "
        "side it was created for. Errors: INVALID_STATE."
    )
    async def cancel_order(
        self,
        info: Info,
        input: CancelOrderInput,
    ) -> CancelOrderPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(decisions.cancel, order_id=order_id, reason=input.reason)

        return await answer_order_payload(
            info, CancelOrderPayload, input, "cancelOrder", work, order_id=order_id_of(input.id)
        )

    @strawberry.mutation(
        description="Refund a paid order, in full or in part, at its original exchange rates. Donations "
        "and added funds: allowed for admins of the receiver's host, which covers what a "
        "processor keeps. Expenses: for admins of the payer's host. Transfers: for admins of "
        "the receiver or its host. Hours: for admins of the nonprofit. Redemptions and "
        "cash-outs: for admins of the platform. Errors: INVALID_STATE, INSUFFICIENT_FUNDS."
    )
    async def refund_order(
        self,
        info: Info,
        input: RefundOrderInput,
    ) -> RefundOrderPayload:
        async def work() -> dict[str, Any]:
            order, transactions = await resolve.refund(
                info,
                keyed_request("refundOrder", input),
                public_id=input.id,
                amount=to_optional_unchecked(input.amount),
                reason=input.reason,
            )
            return {"order": order, "transactions": transactions}

        return await answer_payload(info, RefundOrderPayload, work, dry_run=bool(input.dry_run))


def order_id_of(public_id: strawberry.ID) -> Callable[[], UUID]:
    """Return a function that decodes the ID, so that a malformed one becomes an error of the payload."""
    return lambda: public_ids.decode("Order", public_id, field="id")


def _to_result(result: ApprovalResult) -> ApproveOrdersResult:
    problem = result.problem
    return ApproveOrdersResult(
        id=strawberry.ID(result.public_id),
        order=result.order,  # type: ignore[arg-type]  # types stand for rows
        errors=[to_user_error(problem)] if problem else [],
    )
