"""Ledger accounts, postings and the audit."""

from datetime import datetime
from typing import Any

import strawberry

import models
from dataloaders import Loaders
from schema.types import lazy
from schema.types.enums import LedgerAccountKind
from schema.types.fields import computed, to_one
from schema.types.money import Amount
from schema.types.node import is_row_of
from schema.types.scalars import BigInt, CurrencyCode
from services.core.money import Money
from services.ledger.queries import PostingLine


@strawberry.type(description="One owner's account of one kind and currency in one host's book.")
class LedgerAccount:
    is_type_of = is_row_of(models.LedgerAccount)
    kind: LedgerAccountKind = strawberry.field(description="Kind of the account.")
    currency: CurrencyCode = strawberry.field(description="Currency of the account.")

    book = to_one(
        Loaders.collective,
        "book_id",
        description="The host that keeps the book.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    owner = to_one(
        Loaders.collective,
        "owner_id",
        description="The collective that owns the account.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    @computed(description="Current sum of all postings; credit is positive.", graphql_type=Amount)
    def balance(root: strawberry.Parent[models.LedgerAccount]) -> Money:
        return Money(root.posted, root.currency)


@strawberry.type(description="One line of a double-entry record. Never changed.")
class Posting:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """True for postings with their account."""
        return isinstance(obj, PostingLine)

    account: LedgerAccount = strawberry.field(description="The account posted to.")

    @computed(description="Amount posted; credit is positive.", graphql_type=Amount)
    def amount(root: strawberry.Parent[PostingLine]) -> Money:
        return Money(root.posting.amount, root.posting.currency)

    @computed(description="Account balance after this posting.", graphql_type=Amount)
    def balance_after(root: strawberry.Parent[PostingLine]) -> Money:
        return Money(root.posting.balance_after, root.posting.currency)

    @computed(
        description="Sequence number within the account, starting at 1, without gaps.", graphql_type=BigInt
    )
    def seq(root: strawberry.Parent[PostingLine]) -> int:
        return root.posting.seq

    @computed(description="Ledger time; never earlier than the previous posting of the account.")
    def at(root: strawberry.Parent[PostingLine]) -> datetime:
        return root.posting.at


@strawberry.type(description="One invariant of the ledger, with the number of violations in the data.")
class LedgerAuditCheck:
    name: str = strawberry.field(description="Name of the check.")
    description: str = strawberry.field(description="Definition of a violation.")
    violations: int = strawberry.field(description="Number of violations found.")


@strawberry.type(
    description="All invariants of the ledger, checked against the data in one snapshot. Public."
)
class LedgerAudit:
    is_clean: bool = strawberry.field(description="True if there are no violations.")
    violations: int = strawberry.field(description="Number of violations in all checks together.")
    checks: list[LedgerAuditCheck] = strawberry.field(description="Results of all checks.")
    transactions: int = strawberry.field(description="Number of transactions read.")
    postings: int = strawberry.field(description="Number of postings read.")
    at: datetime = strawberry.field(description="When the audit was run.")
