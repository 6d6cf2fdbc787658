"""Payment methods of hosts and payout methods of payees."""

from datetime import datetime
from typing import Any

import strawberry

import models
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import PaymentMethodKind, PayoutMethodKind
from schema.types.fields import reference, relation
from schema.types.money import Amount
from schema.types.node import Node, id_of, rows_of
from schema.types.scalars import Json
from services.core.money import Money


@strawberry.type(description="A way to give to the collectives of a host, with what it costs. Public.")
class PaymentMethod(Node):
    is_type_of = rows_of(models.PaymentMethod)
    id: strawberry.ID = id_of("PaymentMethod")
    kind: PaymentMethodKind = strawberry.field(name="type", description="How it settles.")
    name: str = strawberry.field(description="What people call it.")
    fee_bps: int = strawberry.field(description="What the processor takes, in basis points.")

    host = reference(
        "collective",
        "host_id",
        description="The host that offers it.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    @relation(
        description="What the processor takes of each payment besides.",
        graphql_type=Amount | None,
    )
    async def fee_fixed(rows: list[models.PaymentMethod], info: Info) -> Any:
        hosts = await info.context.loaders.of("collective").load_many([row.host_id for row in rows])
        return [
            Money(row.fee_fixed_minor, host.currency) if host else None
            for row, host in zip(rows, hosts, strict=True)
        ]


@strawberry.type(description="Where a payee wants to be paid; its admins and its payers' hosts see it.")
class PayoutMethod(Node):
    is_type_of = rows_of(models.PayoutMethod)
    id: strawberry.ID = id_of("PayoutMethod")
    kind: PayoutMethodKind = strawberry.field(name="type", description="The kind of payout.")
    name: str = strawberry.field(description="What the payee calls it.")
    details: Json = strawberry.field(description="Private: the account to pay to.")
    created_at: datetime = strawberry.field(description="When it was noted.")
