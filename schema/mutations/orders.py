"""Donations, added funds, expenses and transfers."""

from datetime import date, datetime
from typing import Any, TypeAlias
from uuid import UUID

import strawberry

import models
from models import new_id
from resolvers import commands
from resolvers.context import Info
from resolvers.orders import load_handover, load_instructions
from resolvers.recurring_gifts import load_earlier_donation
from schema.mutations.payload import (
    MoneyInput,
    Payload,
    answer_order_payload,
    answer_payload,
    keyed_request,
)
from schema.types.enums import FeesPayer, GiftInterval
from schema.types.money import Amount, AmountInput, to_optional_unchecked, to_unchecked
from schema.types.node import CollectiveRef, to_key, to_optional_key
from schema.types.order import Order
from schema.types.payment_method import PaymentMethodRef, PayoutMethodRef, to_method_name
from schema.types.recurring_gift import RecurringGift
from services.core import public_ids
from services.orders import contributions, expenses
from services.orders.expense_decision import ExpenseLine
from services.orders.transfer_instructions import TransferInstructions
from services.providers.offered import offered
from services.recurring import starting

Donation: TypeAlias = tuple[models.Order, models.RecurringGift | None]


@strawberry.input(description="Money to give to a hosted collective.")
class DonateInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(
        name="from", description="The giver: you, or a collective that you are an admin of."
    )
    to: CollectiveRef = strawberry.field(description="The receiver, which must have a host.")
    amount: AmountInput = strawberry.field(
        description="Amount to give, in the receiver's currency. In a tier, its price times `quantity`."
    )
    platform_tip: AmountInput | None = strawberry.field(
        default=None,
        description="Tip to the platform beside the amount, in the receiver's currency, at most as large as "
        "the gift. A recurring gift has it with each charge.",
    )
    tier: strawberry.ID | None = strawberry.field(
        default=None, description="Tier of the receiver, or of one of its events, to give in: tie_…"
    )
    quantity: int | None = strawberry.field(
        default=None, description="Number of tickets or other things to pay for, 1 to 1000. Defaults to 1."
    )
    pay_with: PaymentMethodRef | None = strawberry.field(
        default=None,
        description="Way of paying: from the balance, by bank transfer, or by a payment method of the host, "
        "such as a card. Defaults to the balance.",
    )
    payment_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payWith; removal 2027-06-01",
        description="BALANCE (the default), MANUAL for a bank transfer, or the ID of a payment method.",
    )
    interval: GiftInterval | None = strawberry.field(
        default=None,
        description="Time after which the gift is charged again, and so on. Once if omitted; in a tier with "
        "an interval, as the tier says.",
    )
    ends_after: date | None = strawberry.field(
        default=None,
        description="Last day on which a recurring gift may be charged: that of its second charge, or later. "
        "No end if omitted.",
    )
    description: str | None = strawberry.field(default=None, description="Purpose of the donation. Public.")
    private_message: str | None = strawberry.field(
        default=None, description="Message to those involved in the order."
    )
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="When to stop waiting for a bank transfer. Defaults to 60 days from now, the maximum; in "
        "a tier, to 48 hours.",
    )
    is_incognito: bool | None = strawberry.field(
        default=False,
        description="True to show the giver, a person, to the hosts of both sides and the platform alone, "
        "and not to the receiver. Not for tickets. A recurring gift has it with each charge.",
    )


@strawberry.type(description="Instructions for a donation by bank transfer. Visible to whoever made it.")
class PaymentInstructions:
    reference: str = strawberry.field(description="Text to write on the transfer: the order's ID.")
    amount: Amount = strawberry.field(
        description="Amount to transfer: that of the donation and a tip to the platform."
    )
    account_holder: str | None = strawberry.field(
        description="Holder of the host's bank account. Null if the host names none."
    )
    iban: str | None = strawberry.field(description="IBAN of the host's bank account. Null as above.")
    qr_code: str | None = strawberry.field(
        description="Code that banking apps read, as a data URI of an SVG picture. For euros alone."
    )


@strawberry.type(
    description="The order of the donation: PAID from a balance, PENDING by bank transfer or through a "
    "payment provider."
)
class DonatePayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the donation.")
    subscription: RecurringGift | None = strawberry.field(
        default=None, description="The recurring gift that the donation begins. Null for a gift given once."
    )
    provider_account: str | None = strawberry.field(
        default=None, description="Account of the host at the payment provider, which its form asks for."
    )
    client_secret: str | None = strawberry.field(
        default=None,
        description="Secret of the payment for the provider's form. Null unless the donation waits for it.",
    )
    redirect_url: str | None = strawberry.field(
        default=None,
        description="Address at the payment provider at which the giver pays. Null unless it has one.",
    )

    @strawberry.field(
        description="Instructions for the bank transfer. Null for other ways of paying.",
        graphql_type=PaymentInstructions | None,
    )
    async def payment_instructions(self, info: Info) -> TransferInstructions | None:
        row: Any = self.order
        return await load_instructions(info, row) if row is not None else None


@strawberry.input(description="Money that a host received outside the platform, to add to a balance.")
class AddFundsInput(MoneyInput):
    to: CollectiveRef = strawberry.field(description="The receiver. You must be an admin of its host.")
    amount: AmountInput = strawberry.field(description="Amount to add, in the receiver's currency.")
    from_: CollectiveRef | None = strawberry.field(
        name="from",
        default=None,
        description="The giver. Omit if the origin is unknown. A giver that you do not act for, and that can "
        "be asked, has to confirm before anybody but your host sees it.",
    )
    description: str | None = strawberry.field(default=None, description="Purpose of the funds. Public.")
    host_fee_bps: int | None = strawberry.field(
        default=None, description="Host fee on this money in basis points, instead of the usual one."
    )


@strawberry.type(description="The order of the added funds, PAID.")
class AddFundsPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the added funds.")


@strawberry.input(description="A line of an expense.")
class ExpenseItemInput:
    description: str = strawberry.field(description="Description of the line.")
    amount: AmountInput = strawberry.field(description="Amount of the line, in the currency of the bill.")


@strawberry.input(description="A bill to be paid.")
class SubmitExpenseInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(name="from", description="The collective to pay the bill.")
    to: CollectiveRef = strawberry.field(
        description="The payee. You must be it, or an admin of it or of the payer."
    )
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="Amount of the bill, in the currency of the payee, the payer or the payer's host. Can be "
        "left out if `items` are given.",
    )
    items: list[ExpenseItemInput] | None = strawberry.field(
        default=None, description="Lines of the bill, which add up to the amount."
    )
    pay_to: PayoutMethodRef | None = strawberry.field(
        default=None,
        description="Way of being paid: outside the platform, into the payee's balance, or by a payout "
        "method. Defaults to outside the platform.",
    )
    payout_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payTo; removal 2027-06-01",
        description="MANUAL (the default), BALANCE to be paid into the payee's balance, or the ID of a "
        "payout method.",
    )
    fees_payer: FeesPayer = strawberry.field(
        default=FeesPayer.PAYER, description="Side that bears the payout fee."
    )
    description: str | None = strawberry.field(default=None, description="Purpose of the expense. Public.")
    private_message: str | None = strawberry.field(
        default=None, description="Message to those involved in the order."
    )
    receipts: list[str] | None = strawberry.field(
        default=None, description="References to receipts. Visible to those involved in the order."
    )


@strawberry.type(description="The order of the expense, PENDING.")
class SubmitExpensePayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the expense.")


@strawberry.input(description="An amount to move from one balance to another.")
class TransferFundsInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(name="from", description="The payer. You must be an admin of it.")
    to: CollectiveRef = strawberry.field(description="The receiver, which must have a host.")
    amount: AmountInput = strawberry.field(description="Amount to move, in the receiver's currency.")
    description: str | None = strawberry.field(default=None, description="Purpose of the transfer. Public.")


@strawberry.type(description="The order of the transfer, PAID.")
class TransferFundsPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the transfer.")


@strawberry.type
class OrderMutations:
    @strawberry.mutation(
        description="Give money to a collective. A donation from a balance is PAID at once; one by bank "
        "transfer is PENDING until the host approves its receipt, one through a payment provider until that "
        "confirms it; unpaid for 24 hours, it is CANCELLED. With an interval it is the first of a recurring "
        "gift, which through a provider begins once it is paid. Allowed for admins of the giver. Errors: "
        "INSUFFICIENT_FUNDS, AMOUNT_TOO_SMALL, FX_RATE_UNAVAILABLE, LIMIT_EXCEEDED if the tier is sold "
        "out, UNAVAILABLE if the provider does not answer."
    )
    async def donate(self, info: Info, input: DonateInput) -> DonatePayload:
        order_id = new_id()

        async def work() -> Donation:
            return await info.context.run(
                starting.give,
                order_id=order_id,
                interval=input.interval,
                ends_after=input.ends_after,
                gift={
                    "from_": to_key(input.from_),
                    "to": to_key(input.to),
                    "amount": to_unchecked(input.amount),
                    "tip": to_optional_unchecked(input.platform_tip),
                    "tier_id": public_ids.decode("Tier", input.tier, field="tier") if input.tier else None,
                    "quantity": input.quantity,
                    "payment_method": to_method_name(
                        input.pay_with, field="payWith", text=input.payment_method
                    ),
                    "description": input.description,
                    "expires_at": input.expires_at,
                    "private_message": input.private_message,
                    "is_incognito": bool(input.is_incognito),
                    "providers": offered(info.context.settings),
                    "is_rehearsal": bool(input.dry_run),
                },
            )

        async def run_keyed() -> dict[str, Any]:
            order, gift = await commands.run_once(
                info,
                keyed_request("donate", input),
                result_id=order_id,
                work=work,
                replay=lambda earlier_id: load_earlier_donation(info, earlier_id),
            )
            return {"order": order, "subscription": gift, **await load_handover(info, order)}

        return await answer_payload(info, DonatePayload, run_keyed, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Add money received outside the platform to a balance. The origin counts as unknown "
        "until a giver whom you do not act for confirms. Allowed for admins of the receiver's "
        "host. Errors: AMOUNT_TOO_SMALL, FX_RATE_UNAVAILABLE."
    )
    async def add_funds(self, info: Info, input: AddFundsInput) -> AddFundsPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                contributions.add_funds,
                order_id=order_id,
                to=to_key(input.to),
                amount=to_unchecked(input.amount),
                from_=to_optional_key(input.from_),
                description=input.description,
                host_fee_bps=input.host_fee_bps,
            )

        return await answer_order_payload(info, AddFundsPayload, input, "addFunds", work)

    @strawberry.mutation(
        description="Ask a collective to pay a bill. Allowed for the payee, and for admins of either side "
        "on its behalf."
    )
    async def submit_expense(
        self,
        info: Info,
        input: SubmitExpenseInput,
    ) -> SubmitExpensePayload:
        lines = [ExpenseLine(item.description, to_unchecked(item.amount)) for item in input.items or []]

        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                expenses.submit,
                order_id=order_id,
                from_=to_key(input.from_),
                to=to_key(input.to),
                amount=to_optional_unchecked(input.amount),
                items=lines or None,
                payout_method=to_method_name(input.pay_to, field="payTo", text=input.payout_method),
                fees_payer=input.fees_payer,
                description=input.description,
                private_message=input.private_message,
                receipts=input.receipts or (),
            )

        return await answer_order_payload(info, SubmitExpensePayload, input, "submitExpense", work)

    @strawberry.mutation(
        description="Move money from one balance to another, without fees within one host. Allowed for "
        "admins of the payer. Errors: INSUFFICIENT_FUNDS."
    )
    async def transfer_funds(
        self,
        info: Info,
        input: TransferFundsInput,
    ) -> TransferFundsPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                contributions.transfer,
                order_id=order_id,
                from_=to_key(input.from_),
                to=to_key(input.to),
                amount=to_unchecked(input.amount),
                description=input.description,
            )

        return await answer_order_payload(info, TransferFundsPayload, input, "transferFunds", work)
