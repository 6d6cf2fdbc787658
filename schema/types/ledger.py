"""The ledger's accounts and postings, and its audit."""

from datetime import datetime
from typing import Any

import strawberry

import models
from schema.types import lazy
from schema.types.enums import LedgerAccountKind
from schema.types.fields import derived, reference
from schema.types.money import Amount
from schema.types.node import rows_of
from schema.types.scalars import BigInt, CurrencyCode
from services.core.money import Money
from services.orders.queries import PostedLine


@strawberry.type(description="One owner's account of one kind and currency in one host's book.")
class LedgerAccount:
    is_type_of = rows_of(models.LedgerAccount)
    kind: LedgerAccountKind = strawberry.field(description="What it counts.")
    currency: CurrencyCode = strawberry.field(description="Its currency.")

    book = reference(
        "collective",
        "book_id",
        description="The host whose book it is in.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    owner = reference(
        "collective",
        "owner_id",
        description="Whose account it is.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    @derived(description="The sum of its postings now; credit is positive.", graphql_type=Amount)
    def balance(root: strawberry.Parent[models.LedgerAccount]) -> Any:
        return Money(root.posted, root.currency)


@strawberry.type(description="One line of double entry; never changed.")
class Posting:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """A posting with its account."""
        return isinstance(obj, PostedLine)

    account: LedgerAccount = strawberry.field(description="The account it moved.")

    @derived(description="What it added; credit is positive.", graphql_type=Amount)
    def amount(root: strawberry.Parent[PostedLine]) -> Any:
        return Money(root.posting.amount, root.posting.currency)

    @derived(description="The account's balance after it.", graphql_type=Amount)
    def balance_after(root: strawberry.Parent[PostedLine]) -> Any:
        return Money(root.posting.balance_after, root.posting.currency)

    @derived(description="Its number in its account: from 1, without gaps.", graphql_type=BigInt)
    def seq(root: strawberry.Parent[PostedLine]) -> Any:
        return root.posting.seq

    @derived(description="Ledger time; never before that of the posting before it.")
    def at(root: strawberry.Parent[PostedLine]) -> datetime:
        return root.posting.at


@strawberry.type(description="One promise of the ledger, and how often the data breaks it.")
class LedgerAuditCheck:
    name: str = strawberry.field(description="Its name.")
    description: str = strawberry.field(description="What counts as a violation.")
    violations: int = strawberry.field(description="How many there are.")


@strawberry.type(
    description="All promises of the ledger, counted from the data in one snapshot. For everybody."
)
class LedgerAudit:
    is_clean: bool = strawberry.field(description="Whether there is no violation at all.")
    violations: int = strawberry.field(description="All violations together.")
    checks: list[LedgerAuditCheck] = strawberry.field(description="Each promise.")
    transactions: int = strawberry.field(description="How many transactions were read.")
    postings: int = strawberry.field(description="How many postings were read.")
    at: datetime = strawberry.field(description="When it was made.")
