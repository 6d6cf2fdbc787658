"""Payment methods of hosts, and payout methods of payees."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import PaymentMethodKind, PayoutMethodKind
from schema.types.fields import batched, to_one
from schema.types.money import Amount
from schema.types.node import Node, id_field, is_row_of
from schema.types.scalars import Json
from services.core.money import Money


@strawberry.type(description="A way to pay the collectives of a host, with its fees. Public.")
class PaymentMethod(Node):
    is_type_of = is_row_of(models.PaymentMethod)
    id: strawberry.ID = id_field("PaymentMethod")
    kind: PaymentMethodKind = strawberry.field(
        name="type", description="Kind of payment, which decides when it is settled."
    )
    name: str = strawberry.field(description="Display name of the payment method.")
    fee_bps: int = strawberry.field(description="Proportional processor fee, in basis points.")

    host = to_one(
        Loaders.collective,
        "host_id",
        description="The host that offers the payment method.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    @batched(
        description="Fixed processor fee for each payment, in the host's currency.",
        graphql_type=Amount | None,
    )
    async def fee_fixed(rows: list[models.PaymentMethod], info: Info) -> list[Money | None]:
        return await resolve.load_fixed_fees(rows, info)


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
