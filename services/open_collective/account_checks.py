"""Checks that an import continues the collective's account and reproduces its balances."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Uuid, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import LedgerAccount, Posting, Transaction
from models.enums import LedgerAccountKind
from services.core.money import Money
from services.open_collective.csv_reader import Row, line_error
from services.open_collective.orders import Job
from services.open_collective.parties import Parties


async def require_continues(
    session: AsyncSession, parties: Parties, row: Row, stored: Mapping[int, Transaction]
) -> None:
    """Require that the first new row continues the collective's account."""
    account = await _load_account(session, parties)
    posted = account.posted_minor if account else 0
    if account is not None and account.last_at is not None:
        last = select(col(Posting.transaction_id)).where(
            col(Posting.book_id) == parties.host.id,
            col(Posting.account_id) == account.id,
            col(Posting.seq) == account.seq,
        )
        imported_ids = {transaction.id for transaction in stored.values()}
        # After a row of this file, the file's order counts, in which a row may be seconds earlier.
        if row.at < account.last_at and (await session.execute(last)).scalar_one() not in imported_ids:
            raise line_error(
                row.line,
                "datetime",
                f"rows must not be earlier than the account's last posting of {account.last_at}",
            )
    if row.balance_minor - row.net_minor != posted:
        here, there = (
            Money(amount_minor, parties.currency).value
            for amount_minor in (posted, row.balance_minor - row.net_minor)
        )
        raise line_error(
            row.line,
            "balance",
            f"the account has {here} before this row, but this balance and netAmount imply {there}",
        )


async def require_balances(session: AsyncSession, job: Job) -> None:
    """Require that the account's balance equals the file's after each row."""
    account = await _load_account(session, job.parties)
    statement = select(col(Posting.transaction_id), col(Posting.balance_after)).where(
        col(Posting.transaction_id) == any_(literal(list(job.ids.values()), ARRAY(Uuid))),
        col(Posting.book_id) == job.parties.host.id,
        col(Posting.account_id) == (account.id if account else None),
    )
    balances = {row[0]: row[1] for row in (await session.execute(statement)).all()}
    for entry in job.plan:
        row = entry.row
        if row.net_minor and balances.get(job.ids[row]) != row.balance_minor:
            raise line_error(row.line, "balance", "the ledger has a different balance after this row")


@dataclass(frozen=True)
class _Account:
    id: int
    posted_minor: int
    seq: int
    last_at: datetime | None


async def _load_account(session: AsyncSession, parties: Parties) -> _Account | None:
    """Load the collective's account as it is now; None if it has none yet."""
    # Columns instead of the row, because a row that the session holds would keep its old values.
    account = LedgerAccount
    statement = select(col(account.id), col(account.posted), col(account.seq), col(account.last_at)).where(
        col(account.book_id) == parties.host.id,
        col(account.owner_id) == parties.collective.id,
        col(account.currency) == parties.currency,
        col(account.kind) == LedgerAccountKind.BALANCE,
    )
    row = (await session.execute(statement)).one_or_none()
    return _Account(*row) if row else None
