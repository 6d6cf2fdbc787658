"""Answers of one side to an order: edits of expenses by the payee, and givers who confirm or deny."""

from uuid import UUID

import strawberry

import models
from resolvers.context import Info
from schema.mutations.order_decisions import order_id_of
from schema.mutations.orders import ExpenseItemInput
from schema.mutations.payload import MoneyInput, Payload, answer_order_payload
from schema.types.money import AmountInput, to_optional_unchecked, to_unchecked
from schema.types.order import Order
from schema.types.payment_method import PayoutMethodRef, to_method_name
from services.orders import claimed_givers, expense_edits
from services.orders.expense_decision import ExpenseLine


@strawberry.input(description="The expense to change. What is left out stays as it is.")
class UpdateExpenseInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    amount: AmountInput | None = strawberry.field(
        default=None, description="New amount, in the order's currency. Replaces all lines."
    )
    items: list[ExpenseItemInput] | None = strawberry.field(
        default=None, description="New lines of the bill, which add up to the amount."
    )
    pay_to: PayoutMethodRef | None = strawberry.field(
        default=None,
        description="Way of being paid: outside the platform, into the payee's balance, or by a payout "
        "method.",
    )
    payout_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payTo; removal 2027-06-01",
        description="MANUAL, BALANCE, or the ID of a payout method of the payee.",
    )
    description: str | None = strawberry.field(default=None, description="Purpose of the expense. Public.")
    receipts: list[str] | None = strawberry.field(
        default=None, description="References to receipts, instead of the present ones."
    )


@strawberry.type(description="The changed expense, PENDING.")
class UpdateExpensePayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the expense.")


@strawberry.input(description="The funds to confirm.")
class ConfirmContributionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")


@strawberry.type(description="The confirmed funds, which show their giver.")
class ConfirmContributionPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the added funds.")


@strawberry.input(description="The funds to deny.")
class DenyContributionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description="ID of the order.")
    reason: str | None = strawberry.field(
        default=None, description="Reason for the denial. Visible to the giver and the host."
    )


@strawberry.type(description="The denied funds, whose origin stays unknown.")
class DenyContributionPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the added funds.")


@strawberry.type
class OrderAnswerMutations:
    @strawberry.mutation(
        description="Change an expense that is not paid. An approved one becomes PENDING again, and its held "
        "amount is released. Allowed for the payee and its admins. Errors: INVALID_STATE."
    )
    async def update_expense(self, info: Info, input: UpdateExpenseInput) -> UpdateExpensePayload:
        lines = None
        if input.items is not None:
            lines = [ExpenseLine(item.description, to_unchecked(item.amount)) for item in input.items]

        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                expense_edits.update_expense,
                order_id=order_id,
                amount=to_optional_unchecked(input.amount),
                items=lines,
                payout_method=to_method_name(input.pay_to, field="payTo", text=input.payout_method),
                description=input.description,
                receipts=input.receipts,
            )

        return await answer_order_payload(
            info, UpdateExpensePayload, input, "updateExpense", work, order_id=order_id_of(input.id)
        )

    @strawberry.mutation(
        description="Confirm funds that a host added in your name, which then show you as their giver. "
        "Allowed for admins of the giver. Errors: INVALID_STATE."
    )
    async def confirm_contribution(
        self, info: Info, input: ConfirmContributionInput
    ) -> ConfirmContributionPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(claimed_givers.confirm, order_id=order_id)

        return await answer_order_payload(
            info,
            ConfirmContributionPayload,
            input,
            "confirmContribution",
            work,
            order_id=order_id_of(input.id),
        )

    @strawberry.mutation(
        description="Deny funds that a host added in your name; their origin stays unknown. Allowed for "
        "admins of the giver. Errors: INVALID_STATE."
    )
    async def deny_contribution(self, info: Info, input: DenyContributionInput) -> DenyContributionPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(claimed_givers.deny, order_id=order_id, reason=input.reason)

        return await answer_order_payload(
            info, DenyContributionPayload, input, "denyContribution", work, order_id=order_id_of(input.id)
        )
