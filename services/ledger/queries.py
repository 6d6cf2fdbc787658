"""Reads of postings and ledger accounts that the viewer may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Posting
from models.enums import LedgerAccountKind
from services.access import visibility
from services.access.actor import Actor


@dataclass(frozen=True)
class PostingLine:
    """A posting with its account and the account's owner."""

    posting: Posting
    account: LedgerAccount

    @property
    def transaction_id(self) -> UUID:
        """The transaction that the posting belongs to."""
        return self.posting.transaction_id


async def load_postings(
    session: AsyncSession, actor: Actor, *, transaction_ids: Sequence[UUID]
) -> dict[UUID, list[PostingLine]]:
    """Load the postings of transactions on visible accounts. Order: by account, then seq."""
    statement = (
        select(Posting, LedgerAccount)
        .join(
            LedgerAccount,
            (col(LedgerAccount.book_id) == Posting.book_id) & (col(LedgerAccount.id) == Posting.account_id),
        )
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(col(Posting.transaction_id).in_(transaction_ids), visibility.ledger_account_is_visible(actor))
        .order_by(col(Posting.book_id), col(Posting.account_id), col(Posting.seq))
    )
    lines: dict[UUID, list[PostingLine]] = {key: [] for key in transaction_ids}
    for posting, account in (await session.execute(statement)).all():
        lines[posting.transaction_id].append(PostingLine(posting, account))
    return lines


async def load_accounts(
    session: AsyncSession,
    actor: Actor,
    *,
    book_ids: Sequence[UUID],
    kinds: Sequence[LedgerAccountKind] = (),
) -> dict[UUID, list[LedgerAccount]]:
    """Load the accounts that hosts own in their own books. Order: by kind, then currency.

    They show a host's cash and EXCHANGE positions. An organization's books are public.
    """
    statement = (
        select(LedgerAccount)
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(
            visibility.ledger_account_is_visible(actor),
            col(LedgerAccount.book_id).in_(book_ids),
            col(LedgerAccount.owner_id) == col(LedgerAccount.book_id),
            col(LedgerAccount.kind).in_(kinds) if kinds else literal(value=True),
        )
        .order_by(col(LedgerAccount.kind), col(LedgerAccount.currency))
    )
    accounts: dict[UUID, list[LedgerAccount]] = {key: [] for key in book_ids}
    for row in (await session.execute(statement)).scalars():
        accounts[row.book_id].append(row)
    return accounts
