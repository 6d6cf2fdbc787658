"""Transactions, with the amounts of each side."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import strawberry

import models
from dataloaders import Loaders
from resolvers import givers
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import TransactionKind
from schema.types.fields import Mask, computed, to_one, whole_list
from schema.types.ledger import Posting
from schema.types.money import Amount, amount_field, optional_money
from schema.types.node import CollectiveRef, Node, id_field, is_row_of
from schema.types.payment_method import PaymentMethod
from services.access import giver_visibility, row_visibility
from services.core import public_ids
from services.ledger import queries as ledger_queries
from services.orders import queries
from services.sql_json.shape import Amount as AmountShape
from services.sql_json.shape import Column, Private, PublicId

Row = strawberry.Parent[models.Transaction]
_PAYER = "Null, too, for an incognito gift whose giver you may not know."
_IN_HOST = "In the currency of the receiving host; for a payout, of the paying host."

PAYER = Mask(giver_visibility.transaction_giver_is_visible, givers.are_payers_shown)


def payer_column(column: str, *, description: str) -> Any:
    """Declare a rate of the paying side, for those who may know that."""
    shape = Column("decimal", column)
    return _payer_field(attrgetter(column), shape, Decimal | None, description)


def payer_amount(amount_column: str, currency_column: str, *, description: str) -> Any:
    """Declare an amount of the paying side, for those who may know that."""
    read_both = attrgetter(amount_column, currency_column)
    shape = AmountShape(amount_column, currency_column)
    return _payer_field(lambda row: optional_money(*read_both(row)), shape, Amount | None, description)


def _payer_field(read: Callable[[Any], Any], shape: Any, graphql_type: Any, description: str) -> Any:
    private = Private(shape, giver_visibility.transaction_giver_is_visible)

    @computed(shape=private, description=description, graphql_type=graphql_type)
    def of_row(root: Row, info: Info) -> Any:
        return read(root) if row_visibility.can_see_payer(info.context.actor, root) else None

    return of_row


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
    from_host_fx_rate = payer_column(
        "from_host_fx_rate",
        description=f"Exchange rate from the order's currency to that of the paying host. {_PAYER}",
    )
    from_collective_fx_rate = payer_column(
        "from_collective_fx_rate",
        description=f"Exchange rate from the order's currency to that of the payer. {_PAYER}",
    )

    @computed(
        shape=Column("timestamp", "at"),
        description="Effective time. Imported transactions keep their original time.",
    )
    def created_at(root: Row) -> datetime:
        return root.at

    @computed(
        shape=Column("timestamp", "created_at"),
        description="When the transaction was recorded on this server.",
    )
    def recorded_at(root: Row) -> datetime:
        return root.created_at

    @computed(
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
        mask=PAYER,
        description=f"The paying collective. Null if unknown. {_PAYER}",
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
        mask=PAYER,
        description=f"Host of the payer. Null if the money came from outside. {_PAYER}",
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

    from_collective_amount = payer_amount(
        "from_collective_amount",
        "from_collective_currency",
        description="Change of the payer's balance, in the payer's currency. Null if the money came from "
        f"outside. {_PAYER}",
    )

    from_host_amount = payer_amount(
        "from_host_amount",
        "from_host_currency",
        description="Change on the paying host's side, in its currency. Null if the money came from outside. "
        f"{_PAYER}",
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
        shape=whole_list(ledger_queries.select_postings, ledger_queries.POSTINGS_IN_ORDER),
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
