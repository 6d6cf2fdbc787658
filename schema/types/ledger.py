"""Ledger accounts, postings and the audit."""

from datetime import datetime
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import strawberry

import models
from dataloaders import Loaders
from resolvers import ledger as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import (
    PAGE_ARGUMENTS,
    After,
    Before,
    Connection,
    First,
    Last,
    to_page_request,
)
from schema.types.enums import LedgerAccountKind
from schema.types.fields import TABLE, batched, computed, to_one, whole_list
from schema.types.money import Amount, amount_field
from schema.types.node import Node, is_row_of
from schema.types.scalars import BigInt, CurrencyCode
from services.core import public_ids
from services.core.money import Money
from services.ledger import account_history, audit, queries
from services.ledger.account_history import Period, PostingFilter
from services.ledger.queries import PostingLine
from services.sql_json.arguments import ListArguments
from services.sql_json.shape import Amount as AmountShape
from services.sql_json.shape import Column, Detail, PublicId, Selects, ToOne

Rows: TypeAlias = list[models.LedgerAccount]
Line: TypeAlias = strawberry.Parent[PostingLine]
Lines: TypeAlias = list[PostingLine]
Statement: TypeAlias = strawberry.Parent[account_history.AccountStatement]
Audit: TypeAlias = strawberry.Parent[audit.LedgerAudit]

From = Annotated[
    datetime | None,
    strawberry.argument(name="from", description="Only postings at or after this ledger time."),
]
Until = Annotated[datetime | None, strawberry.argument(description="Only postings before this ledger time.")]


@strawberry.type(
    description="Balances of a ledger account at the bounds of a period, and the sums of the postings "
    "between. The opening balance, plus the credits, plus the debits, is the closing balance."
)
class AccountStatement:
    is_type_of = is_row_of(account_history.AccountStatement)

    opening_balance = amount_field(
        "opening_minor", "currency", description="Balance before the first posting of the period."
    )
    closing_balance = amount_field(
        "closing_minor", "currency", description="Balance after the last posting of the period."
    )
    credits = amount_field(
        "credited_minor", "currency", description="Sum of the credits in the period; zero or positive."
    )
    debits = amount_field(
        "debited_minor", "currency", description="Sum of the debits in the period; zero or negative."
    )

    @computed(
        shape=Column("decimal", "postings"),
        description="Number of postings in the period.",
        graphql_type=BigInt,
    )
    def posting_count(root: Statement) -> int:
        return root.postings


def _period_of(arguments: dict[str, Any]) -> PostingFilter:
    period = Period(start=arguments.get("from_"), end=arguments.get("until"))
    return PostingFilter(period.start, period.end)


def _statement_arguments(arguments: dict[str, Any]) -> ListArguments:
    return ListArguments(account_history.select_statement, _period_of(arguments))


def _posting_arguments(arguments: dict[str, Any]) -> ListArguments:
    page = to_page_request(*(arguments.get(name) for name in PAGE_ARGUMENTS))
    return ListArguments(account_history.select_postings, _period_of(arguments), account_history.BY_SEQ, page)


def _is_posting(obj: Any, _: Any) -> bool:
    """True for postings with their account."""
    return isinstance(obj, PostingLine)


setattr(_is_posting, TABLE, models.Posting)


def _account_id(root: strawberry.Parent[models.LedgerAccount]) -> str:
    return public_ids.encode("LedgerAccount", UUID(int=root.id))


@strawberry.type(description="One owner's account of one kind and currency in one host's book.")
class LedgerAccount(Node):
    is_type_of = is_row_of(models.LedgerAccount)
    kind: LedgerAccountKind = strawberry.field(description="Kind of the account.")
    currency: CurrencyCode = strawberry.field(description="Currency of the account.")

    id: strawberry.ID = computed(
        shape=PublicId("LedgerAccount", "id", is_number=True),
        graphql_type=strawberry.ID,
        description="Opaque ID, unique across all types. Its prefix names the type.",
    )(_account_id)

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

    balance = amount_field(
        "posted", "currency", description="Current sum of all postings; credit is positive."
    )

    @batched(
        shape=Selects(_posting_arguments),
        description="Postings of the account, oldest first. Visible to admins and accountants of the owner "
        "and of the book's host; empty for others. Errors: INVALID_INPUT.",
        graphql_type=lazy.nullable(lazy.POSTING_CONNECTION),
    )
    async def postings(
        rows: Rows,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        from_: From = None,
        until: Until = None,
    ) -> list[Any]:
        period, page = Period(start=from_, end=until), to_page_request(first, after, last, before)
        pages = await resolve.list_postings(rows, info, period=period, page=page)
        return [PostingConnection(page=page) for page in pages]

    @batched(
        shape=Selects(_statement_arguments),
        description="Opening and closing balance of a period, and the sums between. Visible to admins and "
        "accountants of the owner and of the book's host; null for others. Errors: INVALID_INPUT.",
        graphql_type=AccountStatement | None,
    )
    async def statement(
        rows: Rows, info: Info, from_: From = None, until: Until = None
    ) -> list[account_history.AccountStatement | None]:
        return await resolve.load_statements(rows, info, period=Period(start=from_, end=until))


@strawberry.type(description="One line of a double-entry record. Never changed.")
class Posting:
    is_type_of = staticmethod(_is_posting)

    @computed(
        shape=Detail(queries.select_account),
        description="The account posted to.",
        graphql_type=LedgerAccount,
    )
    def account(root: Line) -> models.LedgerAccount:
        return root.account

    @batched(
        shape=ToOne("transaction", "transaction_id"),
        description="Transaction that the posting belongs to. Null if you may not see it.",
        graphql_type=lazy.nullable(lazy.TRANSACTION),
    )
    async def transaction(rows: Lines, info: Info) -> list[models.Transaction | None]:
        return await resolve.load_transactions(rows, info)

    @computed(
        shape=AmountShape("amount", "currency"),
        description="Amount posted; credit is positive.",
        graphql_type=Amount,
    )
    def amount(root: Line) -> Money:
        return Money(root.posting.amount, root.posting.currency)

    @computed(
        shape=AmountShape("balance_after", "currency"),
        description="Account balance after this posting.",
        graphql_type=Amount,
    )
    def balance_after(root: Line) -> Money:
        return Money(root.posting.balance_after, root.posting.currency)

    @computed(
        shape=Column("decimal", "seq"),
        description="Sequence number within the account, starting at 1, without gaps.",
        graphql_type=BigInt,
    )
    def seq(root: Line) -> int:
        return root.posting.seq

    @computed(
        shape=Column("timestamp", "at"),
        description="Ledger time; never earlier than the previous posting of the account.",
    )
    def at(root: Line) -> datetime:
        return root.posting.at


@strawberry.type(description="A page of postings.")
class PostingConnection(Connection[Posting]):
    pass


@strawberry.type(description="One invariant of the ledger, with the number of violations in the data.")
class LedgerAuditCheck:
    is_type_of = is_row_of(audit.AuditCheck)
    name: str = strawberry.field(description="Name of the check.")
    description: str = strawberry.field(description="Definition of a violation.")
    violations: int = strawberry.field(description="Number of violations found.")


def _is_clean(root: Audit) -> bool:
    return root.is_clean


def _checks(root: Audit) -> list[audit.AuditCheck]:
    return root.checks


def _age_seconds(root: Audit) -> int:
    return root.age_seconds


@strawberry.type(
    description="Complete audit: all invariants of the ledger, checked in one snapshot of the data. Public."
)
class LedgerAudit:
    is_type_of = is_row_of(audit.LedgerAudit)
    is_clean: bool = computed(
        shape=Column("number", "is_clean"), description="True if there are no violations."
    )(_is_clean)
    violations: int = strawberry.field(description="Number of violations in all checks together.")
    checks: list[LedgerAuditCheck] = computed(
        shape=whole_list(audit.select_checks, audit.CHECKS_IN_ORDER),
        description="Results of all checks.",
        graphql_type=list[LedgerAuditCheck],
    )(_checks)
    transactions: int = strawberry.field(description="Number of transactions read.")
    postings: int = strawberry.field(description="Number of postings read.")
    at: datetime = strawberry.field(description="Time of the snapshot that was read.")
    age_seconds: int = computed(
        shape=Column("number", "age_seconds"), description="Seconds since the snapshot that was read."
    )(_age_seconds)
    is_full: bool = strawberry.field(
        description="True if the whole ledger was read; false if only what was added since the last audit."
    )
    last_full_at: datetime | None = strawberry.field(
        description="Time of the last audit of the whole ledger."
    )
