"""Reads of postings and ledger accounts that the viewer may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, any_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Posting
from models.enums import LedgerAccountKind
from services.access import visibility
from services.access.actor import Actor
from services.core.pagination import Sort
from services.database import fetch


@dataclass(frozen=True)
class PostingLine:
    """A posting with its account and the account's owner."""

    posting: Posting
    account: LedgerAccount

    @property
    def transaction_id(self) -> UUID:
        """The transaction that the posting belongs to."""
        return self.posting.transaction_id


def _by_row_number(name: str, *columns: Any) -> Sort:
    place: Any = func.row_number().over(order_by=columns)
    return Sort(name, place, place, descending=False)


POSTINGS_IN_ORDER = _by_row_number(
    "POSTINGS_IN_ORDER", col(Posting.book_id), col(Posting.account_id), col(Posting.seq)
)
ACCOUNTS_IN_ORDER = _by_row_number("ACCOUNTS_IN_ORDER", col(LedgerAccount.kind), col(LedgerAccount.currency))


def _select_visible(actor: Actor, *columns: Any) -> Select[Any]:
    """Select columns of postings on accounts that the actor may see."""
    return (
        select(*columns)
        .join(
            LedgerAccount,
            (col(LedgerAccount.book_id) == Posting.book_id) & (col(LedgerAccount.id) == Posting.account_id),
        )
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(visibility.ledger_account_is_visible(actor))
    )


def select_postings(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the postings of a transaction on visible accounts."""
    del where  # has no conditions
    return (_select_visible(actor, Posting).where(col(Posting.transaction_id) == owner),)


def select_account(posting: Any) -> Select[Any]:
    """Select the account of a posting, whose columns are given."""
    return select(LedgerAccount).where(
        col(LedgerAccount.book_id) == posting.book_id, col(LedgerAccount.id) == posting.account_id
    )


async def load_postings(
    session: AsyncSession, actor: Actor, *, transaction_ids: Sequence[UUID]
) -> dict[UUID, list[PostingLine]]:
    """Load the postings of transactions on visible accounts. Order: by account, then seq."""
    statement = (
        _select_visible(actor, Posting)
        .add_columns(LedgerAccount)
        .where(col(Posting.transaction_id).in_(transaction_ids))
        .order_by(col(Posting.book_id), col(Posting.account_id), col(Posting.seq))
    )
    lines: dict[UUID, list[PostingLine]] = {key: [] for key in transaction_ids}
    for posting, account in (await session.execute(statement)).all():
        lines[posting.transaction_id].append(PostingLine(posting, account))
    return lines


@dataclass(frozen=True)
class AccountFilter:
    """Kinds of accounts; all if none is named."""

    kinds: tuple[LedgerAccountKind, ...] = ()


def select_accounts(actor: Actor, *, where: AccountFilter, owner: Any) -> tuple[Select[LedgerAccount]]:
    """Select the visible accounts that a host owns in its own book."""
    statement = (
        select(LedgerAccount)
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(
            visibility.ledger_account_is_visible(actor),
            col(LedgerAccount.book_id) == owner,
            col(LedgerAccount.owner_id) == col(LedgerAccount.book_id),
        )
    )
    return (statement.where(col(LedgerAccount.kind).in_(where.kinds)) if where.kinds else statement,)


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
    owner = any_(fetch.ids_parameter("book_ids", book_ids))
    (statement,) = select_accounts(actor, where=AccountFilter(tuple(kinds)), owner=owner)
    statement = statement.order_by(col(LedgerAccount.kind), col(LedgerAccount.currency))
    accounts: dict[UUID, list[LedgerAccount]] = {key: [] for key in book_ids}
    for row in (await session.execute(statement)).scalars():
        accounts[row.book_id].append(row)
    return accounts
