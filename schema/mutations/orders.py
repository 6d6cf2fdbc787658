"""Making orders."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, perform_order
from schema.types.enums import FeesPayer
from schema.types.money import AmountInput, asked, asked_or_none
from schema.types.node import CollectiveRef, ref, ref_or_none
from schema.types.order import Order
from services.orders import contributions, expenses


@strawberry.input(description="Money to give to a hosted collective.")
class DonateInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(
        name="from", description="Who gives; you, or a collective that you are ADMIN of."
    )
    to: CollectiveRef = strawberry.field(description="Who gets it; it needs a host.")
    amount: AmountInput = strawberry.field(description="How much, in the receiver's currency.")
    payment_method: str | None = strawberry.field(
        default=None,
        description="BALANCE (as if not given), MANUAL for a bank transfer, or a payment method's id.",
    )
    description: str | None = strawberry.field(default=None, description="What it is for. Public.")
    private_message: str | None = strawberry.field(default=None, description="A message to those concerned.")
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="Until when a bank transfer is awaited; at most, and else, 60 days.",
    )


@strawberry.type(description="The order of a donation: PAID from a balance, PENDING by bank transfer.")
class DonatePayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="Money that a host received outside, to add to a balance.")
class AddFundsInput(MoneyInput):
    to: CollectiveRef = strawberry.field(description="Whose balance; you are ADMIN of its host.")
    amount: AmountInput = strawberry.field(description="How much, in the receiver's currency.")
    from_: CollectiveRef | None = strawberry.field(
        name="from", default=None, description="Who gave it; not given: of unknown origin."
    )
    description: str | None = strawberry.field(default=None, description="What it is for. Public.")
    host_fee_bps: int | None = strawberry.field(
        default=None, description="The host's fee of this money, instead of the usual one."
    )


@strawberry.type(description="The order of added funds, PAID.")
class AddFundsPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="A line of an expense.")
class ExpenseItemInput:
    description: str = strawberry.field(description="What it is for.")
    amount: AmountInput = strawberry.field(description="How much, in the payee's currency.")


@strawberry.input(description="A bill to be paid.")
class SubmitExpenseInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(name="from", description="Who is to pay.")
    to: CollectiveRef = strawberry.field(
        description="Who is to be paid; you are it, or ADMIN of it or of the payer."
    )
    amount: AmountInput | None = strawberry.field(
        default=None, description="How much, in the payee's currency; or give items."
    )
    items: list[ExpenseItemInput] | None = strawberry.field(
        default=None, description="Lines that add up to the amount."
    )
    payout_method: str | None = strawberry.field(
        default=None,
        description="MANUAL (as if not given), BALANCE to be paid into the payee's balance, or a payout "
        "method's id.",
    )
    fees_payer: FeesPayer = strawberry.field(
        default=FeesPayer.PAYER, description="Who bears what the payout costs."
    )
    description: str | None = strawberry.field(default=None, description="What it is for. Public.")
    private_message: str | None = strawberry.field(default=None, description="A message to those concerned.")
    receipts: list[str] | None = strawberry.field(
        default=None, description="References to receipts; for those concerned."
    )


@strawberry.type(description="The order of an expense, PENDING.")
class SubmitExpensePayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.input(description="Balance to move to another balance.")
class TransferFundsInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(name="from", description="You are ADMIN of it.")
    to: CollectiveRef = strawberry.field(description="Who gets it; it needs a host.")
    amount: AmountInput = strawberry.field(description="How much, in the receiver's currency.")
    description: str | None = strawberry.field(default=None, description="What it is for. Public.")


@strawberry.type(description="The order of a transfer, PAID.")
class TransferFundsPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.type
class OrderMutations:
    @strawberry.mutation(
        description="Give money. From a balance it is PAID at once; by bank transfer it waits until the "
        "host sees it. For ADMINs of the giver. INSUFFICIENT_FUNDS, AMOUNT_TOO_SMALL, FX_RATE_UNAVAILABLE."
    )
    async def donate(self, info: Info, input: DonateInput) -> DonatePayload:
        async def work(order_id: Any) -> Any:
            return await info.context.run(
                contributions.donate,
                order_id=order_id,
                from_=ref(input.from_),
                to=ref(input.to),
                amount=asked(input.amount),
                payment_method=input.payment_method,
                description=input.description,
                expires_at=input.expires_at,
                private_message=input.private_message,
            )

        return await perform_order(info, DonatePayload, input, "donate", work)

    @strawberry.mutation(
        description="Add money that arrived outside to a balance. For ADMINs of the receiver's host. "
        "AMOUNT_TOO_SMALL, FX_RATE_UNAVAILABLE."
    )
    async def add_funds(self, info: Info, input: AddFundsInput) -> AddFundsPayload:
        async def work(order_id: Any) -> Any:
            return await info.context.run(
                contributions.add_funds,
                order_id=order_id,
                to=ref(input.to),
                amount=asked(input.amount),
                from_=ref_or_none(input.from_),
                description=input.description,
                host_fee_bps=input.host_fee_bps,
            )

        return await perform_order(info, AddFundsPayload, input, "addFunds", work)

    @strawberry.mutation(
        description="Ask a collective to pay a bill. For the payee, and for ADMINs of either side on its "
        "behalf."
    )
    async def submit_expense(
        self,
        info: Info,
        input: SubmitExpenseInput,
    ) -> SubmitExpensePayload:
        lines = [expenses.AskedItem(item.description, asked(item.amount)) for item in input.items or []]

        async def work(order_id: Any) -> Any:
            return await info.context.run(
                expenses.submit,
                order_id=order_id,
                from_=ref(input.from_),
                to=ref(input.to),
                amount=asked_or_none(input.amount),
                items=lines or None,
                payout_method=input.payout_method,
                fees_payer=input.fees_payer,
                description=input.description,
                private_message=input.private_message,
                receipts=input.receipts or (),
            )

        return await perform_order(info, SubmitExpensePayload, input, "submitExpense", work)

    @strawberry.mutation(
        description="Move balance to another balance, free of fees inside one host. For ADMINs of the "
        "payer. INSUFFICIENT_FUNDS."
    )
    async def transfer_funds(
        self,
        info: Info,
        input: TransferFundsInput,
    ) -> TransferFundsPayload:
        async def work(order_id: Any) -> Any:
            return await info.context.run(
                contributions.transfer,
                order_id=order_id,
                from_=ref(input.from_),
                to=ref(input.to),
                amount=asked(input.amount),
                description=input.description,
            )

        return await perform_order(info, TransferFundsPayload, input, "transferFunds", work)
