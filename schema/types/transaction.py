"""Transactions: what moved, on each side."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

import models
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import TransactionKind
from schema.types.fields import derived, reference
from schema.types.ledger import Posting
from schema.types.money import amount_of
from schema.types.node import CollectiveRef, Node, id_of, rows_of
from schema.types.payment_method import PaymentMethod
from services.core import public_ids
from services.sql_json.shape import Column, PublicId

Row = strawberry.Parent[models.Transaction]
_IN_HOST = "In the receiving host's currency; of a payout, in the paying host's."


@strawberry.type(
    description="Value moved, seen from both sides, with fees and rates. Never changed; a refund is a "
    "transaction of its own with every amount negated."
)
class Transaction(Node):
    is_type_of = rows_of(models.Transaction)
    id: strawberry.ID = id_of("Transaction")
    kind: TransactionKind = strawberry.field(description="Why it moved.")
    description: str | None = strawberry.field(description="The order's words.")
    fx_rate: Decimal = strawberry.field(
        description="From the order's currency to that of the fees, when it was posted."
    )
    from_host_fx_rate: Decimal | None = strawberry.field(
        description="From the order's currency to that of the paying host."
    )
    from_collective_fx_rate: Decimal | None = strawberry.field(
        description="From the order's currency to that of the payer."
    )

    @derived(
        "at",
        shown=Column("moment", "at"),
        description="When it counts; imported history keeps its original time.",
    )
    def created_at(root: Row) -> datetime:
        return root.at

    @derived("created_at", shown=Column("moment", "created_at"), description="When it was written here.")
    def recorded_at(root: Row) -> datetime:
        return root.created_at

    @derived(
        "group_id",
        shown=PublicId("Group", "group_id"),
        description="Ties the transactions of one event.",
        graphql_type=strawberry.ID,
    )
    def group(root: Row) -> Any:
        return public_ids.encode("Group", root.group_id)

    order = reference(
        "order",
        "order_id",
        description="The order that it settles, if you may see it.",
        graphql_type=lazy.optional(lazy.ORDER),
    )

    refund_of = reference(
        "transaction",
        "refund_of_id",
        description="What it gives back.",
        graphql_type=lazy.optional(lazy.TRANSACTION),
    )

    refunded_by = reference(
        "transaction.refunds",
        "id",
        description="What gave it back, in parts or whole; oldest first.",
        graphql_type=list[lazy.TRANSACTION],
    )

    from_collective = reference(
        "collective",
        "from_collective_id",
        description="The payer; null where it is not known.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    to_collective = reference(
        "collective",
        "to_collective_id",
        description="The payee; null is outside.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    from_host = reference(
        "collective",
        "from_host_id",
        description="The payer's host; null where the money came from outside.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    to_host = reference(
        "collective",
        "to_host_id",
        description="The payee's host; null where the money went outside.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    payment_method = reference(
        "payment_method",
        "payment_method_id",
        description="How it was paid.",
        graphql_type=PaymentMethod | None,
    )

    amount = amount_of("amount", "currency", description="The order's amount, in the payee's currency.")

    from_collective_amount = amount_of(
        "from_collective_amount",
        "from_collective_currency",
        description="What it did to the payer's balance, in its currency; null from outside.",
        is_nullable=True,
    )

    from_host_amount = amount_of(
        "from_host_amount",
        "from_host_currency",
        description="What it did to the paying host, in its currency; null from outside.",
        is_nullable=True,
    )

    to_host_amount = amount_of(
        "to_host_amount",
        "host_currency",
        description=f"The amount less processor and platform fee. {_IN_HOST}",
    )

    to_collective_amount = amount_of(
        "to_collective_amount", "currency", description="What the payee received, in the order's currency."
    )

    payment_processor_fee_in_host_currency = amount_of(
        "payment_processor_fee",
        "host_currency",
        description=f"What the payment's or payout's processor took. {_IN_HOST}",
    )

    host_fee_in_host_currency = amount_of(
        "host_fee", "host_currency", description=f"What the payee's host took. {_IN_HOST}"
    )

    platform_fee_in_host_currency = amount_of(
        "platform_fee", "host_currency", description=f"What the platform took. {_IN_HOST}"
    )

    postings = reference(
        "transaction.postings",
        "id",
        description="Its lines on the accounts that you may see: all but other people's.",
        graphql_type=list[Posting],
    )


@strawberry.type(description="A page of transactions.")
class TransactionConnection(Connection[Transaction]):
    pass


@strawberry.input(description="Which transactions to list; all conditions hold at once.")
class TransactionFilter:
    kind: list[TransactionKind] | None = strawberry.field(default=None, description="Of one of these kinds.")
    from_: CollectiveRef | None = strawberry.field(name="from", default=None, description="From this payer.")
    to: CollectiveRef | None = strawberry.field(default=None, description="To this payee.")
    order: strawberry.ID | None = strawberry.field(default=None, description="Of this order.")
    group: strawberry.ID | None = strawberry.field(default=None, description="Of this event.")
    at_from: datetime | None = strawberry.field(default=None, description="Not before this.")
    at_until: datetime | None = strawberry.field(default=None, description="Before this.")
