"""Fields of ledger accounts and postings, for lists of rows."""

from typing import TypeAlias

import models
from resolvers.context import Info
from services.core.pagination import Page, PageRequest
from services.ledger.account_history import AccountStatement, Period
from services.ledger.queries import PostingLine

Accounts: TypeAlias = list[models.LedgerAccount]


async def list_postings(
    accounts: Accounts, info: Info, *, period: Period, page: PageRequest
) -> list[Page[PostingLine]]:
    """List a page of the postings of each account."""
    loader = info.context.loaders.account_postings(period, page)
    return await loader.load_many([(account.book_id, account.id) for account in accounts])


async def load_statements(accounts: Accounts, info: Info, *, period: Period) -> list[AccountStatement | None]:
    """Load the statement of each account for a period."""
    loader = info.context.loaders.account_statements(period)
    return await loader.load_many([(account.book_id, account.id) for account in accounts])


async def load_transactions(lines: list[PostingLine], info: Info) -> list[models.Transaction | None]:
    """Load the transaction of each posting, or None if the viewer may not see it."""
    return await info.context.loaders.transaction.load_many([line.transaction_id for line in lines])
