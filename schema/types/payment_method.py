"""Payment methods of hosts, and payout methods of payees."""

from datetime import date, datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import PaymentMethodKind, PayoutMethodKind, ProviderName
from schema.types.fields import batched, to_one
from schema.types.money import Amount, amount_field
from schema.types.node import Node, id_field, is_row_of
from schema.types.scalars import Json
from services.core.errors import Invalid
from services.core.money import Money
from services.orders import payment_methods
from services.orders.method_names import MethodName
from services.orders.provider_payments import Handover
from services.sql_json import shape
from services.sql_json.shape import Derived


@strawberry.type(description="A way to pay the collectives of a host, with its fees. Public.")
class PaymentMethod(Node):
    is_type_of = is_row_of(models.PaymentMethod)
    id: strawberry.ID = id_field("PaymentMethod")
    kind: PaymentMethodKind = strawberry.field(
        name="type", description="Kind of payment, which decides when it is settled."
    )
    name: str = strawberry.field(description="Display name of the payment method.")
    provider: ProviderName | None = strawberry.field(
        description="The payment provider that collects the money. Null for others."
    )
    fee_bps: int = strawberry.field(description="Proportional processor fee, in basis points.")

    host = to_one(
        Loaders.collective,
        "host_id",
        description="The host that offers the payment method.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    @batched(
        shape=Derived(payment_methods.select_fixed_fee, shape.Amount("minor", "currency")),
        description="Fixed processor fee for each payment, in the host's currency.",
        graphql_type=Amount | None,
    )
    async def fee_fixed(rows: list[models.PaymentMethod], info: Info) -> list[Money | None]:
        return await resolve.load_fixed_fees(rows, info)


@strawberry.type(
    description="A card that a payment provider keeps for a giver. Visible to the giver's admins."
)
class Card:
    is_type_of = is_row_of(models.Instrument)
    brand: str = strawberry.field(description="Brand of the card, such as Visa.")
    last4: str = strawberry.field(description="Last four digits of its number.")
    expires_on: date | None = strawberry.field(description="Last day on which the card is good.")


@strawberry.type(
    description="A payment that waits for its giver at a payment provider. Visible to the giver's admins."
)
class WaitingPayment:
    is_type_of = is_row_of(Handover)
    provider: ProviderName = strawberry.field(description="The payment provider that collects the money.")
    account: str | None = strawberry.field(
        description="Account of the host at the payment provider, which its form asks for."
    )
    client_secret: str | None = strawberry.field(
        description="Secret of the payment for the provider's form. Null unless it has one."
    )
    redirect_url: str | None = strawberry.field(
        description="Address at the payment provider at which the giver pays. Null unless it has one."
    )

    amount = amount_field(
        "due_minor", "currency", description="Amount that is charged, with the tip to the platform."
    )


@strawberry.type(
    description="A way in which a payee can be paid. Visible to the payee's admins and its payers' hosts."
)
class PayoutMethod(Node):
    is_type_of = is_row_of(models.PayoutMethod)
    id: strawberry.ID = id_field("PayoutMethod")
    kind: PayoutMethodKind = strawberry.field(name="type", description="Kind of payout.")
    name: str = strawberry.field(description="Name chosen by the payee.")
    details: Json = strawberry.field(description="Private account details for the payout.")
    created_at: datetime = strawberry.field(description="When the payout method was added.")


@strawberry.input(one_of=True, description="A reference to a way of paying, by its type or by its ID.")
class PaymentMethodRef:
    kind: PaymentMethodKind | None = strawberry.field(
        name="type", default=strawberry.UNSET, description="A way of paying that every host has."
    )
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="ID of a payment method of the receiver's host."
    )


@strawberry.input(one_of=True, description="A reference to a way of being paid, by its type or by its ID.")
class PayoutMethodRef:
    kind: PayoutMethodKind | None = strawberry.field(
        name="type",
        default=strawberry.UNSET,
        description="A way of being paid that needs no details: MANUAL, or where money moves on the "
        "platform, BALANCE.",
    )
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="ID of a payout method of the payee."
    )


def to_method_name(
    ref: PaymentMethodRef | PayoutMethodRef | None, *, field: str, text: str | None
) -> MethodName | str | None:
    """Convert a reference in `field`, or the deprecated text in its place, for the services.

    Raises:
        Invalid: both are given.
    """
    if ref is None:
        return text
    if text is not None:
        raise Invalid(f"Pass {field} alone; it replaces the deprecated field.", field=field)
    return MethodName(ref.id, f"{field}.id") if ref.id else MethodName(str(ref.kind), f"{field}.type")
