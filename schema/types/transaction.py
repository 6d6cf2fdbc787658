"""Transactions, with the amounts of each side."""

from datetime import datetime
from decimal import Decimal

import strawberry

import models
from dataloaders import Loaders
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import TransactionKind
from schema.types.fields import computed, to_one, whole_list
from schema.types.ledger import Posting
from schema.types.money import amount_field
from schema.types.node import CollectiveRef, Node, id_field, is_row_of
from schema.types.payment_method import PaymentMethod
from services.core import public_ids
from services.orders import queries
from services.sql_json.shape import Column, PublicId

Row = strawberry.Parent[models.Transaction]
_IN_HOST = "In the currency of the receiving host; for a payout, of the paying host."


@strawberry.type(
    description="A movement of value, recorded from both sides with fees and exchange rates. Never "
    "changed; a refund is a separate transaction with all amounts negated."
)
class Transaction(Node):
    is_type_of = is_row_of(models.Transaction)
    id: strawberry.ID = id_field("Transaction")
    kind: TransactionKind = strawberry.field(description="Kind of movement recorded.")
    description: str | None = strawberry.field(description="Description of the order.")
    fx_rate: Decimal = strawberry.field(
        description="Exchange rate from the order's currency to that of the fees, at the time of posting."
    )
    from_host_fx_rate: Decimal | None = strawberry.field(
        description="Exchange rate from the order's currency to that of the paying host."
    )
    from_collective_fx_rate: Decimal | None = strawberry.field(
        description="Exchange rate from the order's currency to that of the payer."
    )

    @computed(
        "at",
        shape=Column("timestamp", "at"),
        description="Effective time. Imported transactions keep their original time.",
    )
    def created_at(root: Row) -> datetime:
        return root.at

    @computed(
        "created_at",
        shape=Column("timestamp", "created_at"),
        description="When the transaction was recorded on this server.",
    )
    def recorded_at(root: Row) -> datetime:
        return root.created_at

    @computed(
        "group_id",
        shape=PublicId("Group", "group_id"),
        description="ID shared by all transactions that belong together.",
        graphql_type=strawberry.ID,
    )
    def group(root: Row) -> str:
        return public_ids.encode("Group", root.group_id)

    order = to_one(
        Loaders.order,
        "order_id",
        description="The order that the transaction settles. Null if you may not see it.",
        graphql_type=lazy.nullable(lazy.ORDER),
    )

    refund_of = to_one(
        Loaders.transaction,
        "refund_of_id",
        description="The transaction that this one refunds.",
        graphql_type=lazy.nullable(lazy.TRANSACTION),
    )

    refunded_by = to_one(
        Loaders.refunds_of_transaction,
        "id",
        shape=whole_list(queries.select_refunds, queries.TRANSACTIONS_OLDEST),
        description="Full or partial refunds of this transaction, oldest first.",
        graphql_type=list[lazy.TRANSACTION],
    )

    from_collective = to_one(
        Loaders.collective,
        "from_collective_id",
        description="The paying collective. Null if unknown.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    to_collective = to_one(
        Loaders.collective,
        "to_collective_id",
        description="The paid collective. Null if the money left the platform.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    from_host = to_one(
        Loaders.collective,
        "from_host_id",
        description="Host of the payer. Null if the money came from outside.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    to_host = to_one(
        Loaders.collective,
        "to_host_id",
        description="Host of the payee. Null if the money left the platform.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    payment_method = to_one(
        Loaders.payment_method,
        "payment_method_id",
        description="The payment method used.",
        graphql_type=PaymentMethod | None,
    )

    amount = amount_field("amount", "currency", description="Amount of the order, in the payee's currency.")

    from_collective_amount = amount_field(
        "from_collective_amount",
        "from_collective_currency",
        description="Change of the payer's balance, in the payer's currency. Null if the money came from "
        "outside.",
        is_nullable=True,
    )

    from_host_amount = amount_field(
        "from_host_amount",
        "from_host_currency",
        description="Change on the paying host's side, in its currency. Null if the money came from outside.",
        is_nullable=True,
    )

    to_host_amount = amount_field(
        "to_host_amount",
        "host_currency",
        description=f"Amount after the processor fee and the platform fee. {_IN_HOST}",
    )

    to_collective_amount = amount_field(
        "to_collective_amount",
        "currency",
        description="Amount that the payee received, in the order's currency.",
    )

    payment_processor_fee_in_host_currency = amount_field(
        "payment_processor_fee",
        "host_currency",
        description=f"Fee of the payment or payout processor. {_IN_HOST}",
    )

    host_fee_in_host_currency = amount_field(
        "host_fee", "host_currency", description=f"Fee of the payee's host. {_IN_HOST}"
    )

    platform_fee_in_host_currency = amount_field(
        "platform_fee", "host_currency", description=f"Fee of the platform. {_IN_HOST}"
    )

    postings = to_one(
        Loaders.postings_of_transaction,
        "id",
        description="Postings to accounts that you may see. Accounts of other people are left out.",
        graphql_type=list[Posting],
    )


@strawberry.type(description="A page of transactions.")
class TransactionConnection(Connection[Transaction]):
    pass


@strawberry.input(description="Filter for transactions. All given conditions must hold.")
class TransactionFilter:
    kind: list[TransactionKind] | None = strawberry.field(
        default=None, description="Only transactions of these kinds."
    )
    from_: CollectiveRef | None = strawberry.field(
        name="from", default=None, description="Only transactions of this payer."
    )
    to: CollectiveRef | None = strawberry.field(default=None, description="Only transactions of this payee.")
    order: strawberry.ID | None = strawberry.field(
        default=None, description="Only transactions of the order with this ID."
    )
    group: strawberry.ID | None = strawberry.field(
        default=None, description="Only transactions with this group ID."
    )
    at_from: datetime | None = strawberry.field(
        default=None, description="Only transactions at or after this time."
    )
    at_until: datetime | None = strawberry.field(
        default=None, description="Only transactions before this time."
    )
