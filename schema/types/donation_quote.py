"""Quotes of donations."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry

from resolvers.context import Info
from schema.types.fields import computed
from schema.types.money import Amount, AmountInput, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key, to_optional_key
from schema.types.payment_method import PaymentMethodRef, to_method_name
from services.core import public_ids
from services.core.money import Money
from services.orders import donation_quotes
from services.orders.donation_quotes import DonationQuote as Figures

Row = strawberry.Parent[Figures]


@strawberry.type(
    description="The figures that a donation would post now. Visible to everybody; they say nothing of what "
    "the giver has."
)
class DonationQuote:
    amount: Amount = strawberry.field(description="Amount given, in the receiver's currency.")
    net: Amount = strawberry.field(description="Amount that the receiver gets, after all fees.")
    platform_tip: Amount = strawberry.field(
        description="Tip to the platform beside the amount, in the receiver's currency. Zero without one."
    )
    total: Amount = strawberry.field(
        description="Amount that the giver pays: the amount given and the tip, in the receiver's currency."
    )
    debited: Amount | None = strawberry.field(
        description="Amount that the giver's balance pays, with the tip, in its currency. Null for money "
        "from outside."
    )

    @computed(description="Amount given, in the currency of the receiving host.", graphql_type=Amount)
    def gross(root: Row) -> Money:
        return root.in_host_currency(root.figures.gross_minor)

    @computed(description="Tip to the platform, in the currency of the receiving host.", graphql_type=Amount)
    def tip_gross(root: Row) -> Money:
        return root.in_host_currency(root.tip.gross_minor if root.tip else 0)

    @computed(
        description="Part of the payment processor's fee that the tip bears, in the currency of the "
        "receiving host.",
        graphql_type=Amount,
    )
    def tip_processor_fee(root: Row) -> Money:
        return root.in_host_currency(root.tip.payment_processor_fee_minor if root.tip else 0)

    @computed(
        description="Fee of the payment processor, without the part that a tip bears, in the currency of "
        "the receiving host.",
        graphql_type=Amount,
    )
    def processor_fee(root: Row) -> Money:
        return root.in_host_currency(root.figures.payment_processor_fee_minor)

    @computed(description="Fee of the platform, in the currency of the receiving host.", graphql_type=Amount)
    def platform_fee(root: Row) -> Money:
        return root.in_host_currency(root.figures.platform_fee_minor)

    @computed(description="Fee of the receiving host, in its currency.", graphql_type=Amount)
    def host_fee(root: Row) -> Money:
        return root.in_host_currency(root.figures.host_fee_minor)

    @computed(
        description="Exchange rate from the receiver's currency to that of its host.", graphql_type=Decimal
    )
    def fx_rate(root: Row) -> Decimal:
        return root.figures.fx_rate

    rate_valid_from: datetime | None = strawberry.field(
        description="When the exchange rate took effect. Null where both currencies are one."
    )


@strawberry.type
class DonationQuoteQueries:
    @strawberry.field(
        description="Figures of a donation before it is made: those that `donate` with the same arguments "
        "would post. Visible to everybody. Errors: those of `donate`, except INSUFFICIENT_FUNDS.",
        graphql_type=DonationQuote | None,
    )
    async def donation_quote(
        self,
        info: Info,
        to: Annotated[
            CollectiveRef, strawberry.argument(description="The receiver, which must have a host.")
        ],
        amount: Annotated[
            AmountInput | None,
            strawberry.argument(description="Amount to give. Can be left out if a tier has a price."),
        ] = None,
        from_: Annotated[
            CollectiveRef | None,
            strawberry.argument(
                name="from", description="The giver. Without one, the money is from outside."
            ),
        ] = None,
        tier: Annotated[strawberry.ID | None, strawberry.argument(description="Tier to give in.")] = None,
        quantity: Annotated[
            int | None, strawberry.argument(description="Number of tickets or other things to pay for.")
        ] = None,
        tip: Annotated[
            AmountInput | None,
            strawberry.argument(description="Tip to the platform, as `platformTip` of `donate`."),
        ] = None,
        pay_with: Annotated[
            PaymentMethodRef | None,
            strawberry.argument(description="Way of paying, as in `donate`. Defaults to the balance."),
        ] = None,
    ) -> Figures:
        return await info.context.run(
            donation_quotes.quote,
            from_=to_optional_key(from_),
            to=to_key(to),
            amount=to_optional_unchecked(amount),
            tip=to_optional_unchecked(tip),
            tier_id=public_ids.decode("Tier", tier, field="tier") if tier else None,
            quantity=quantity,
            payment_method=to_method_name(pay_with, field="payWith", text=None),
        )
