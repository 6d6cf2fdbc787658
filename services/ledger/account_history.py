"""The history of ledger accounts: their postings, and their statements for a period.

Both are visible to the ADMINs and ACCOUNTANTs of the account's owner and of the book's host; for anybody else
they are empty, even if the account's balance is public.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, LedgerAccount, Posting
from services.access import visibility
from services.access.actor import Actor
from services.core import pagination
from services.core.errors import Invalid
from services.core.pagination import Page, PageRequest, Sort
from services.ledger.queries import PostingLine

AccountId: TypeAlias = tuple[UUID, int]
"""The key of an account: its book, and its number."""
IsOf: TypeAlias = Callable[[Any], ColumnElement[bool]]
"""Builds the condition that a posting is one of an account, from the table of postings."""
_MAX_SEQ = 2**63 - 1
_BOUND = aliased(Posting)
"""The posting at a bound of a period."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """A period of ledger time: `start` is inclusive, `end` is exclusive; None is without bound."""

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            Invalid: the end is not after the start.
        """
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise Invalid("until must be later than from.", field="until")


@dataclass(frozen=True)
class AccountStatement:
    """An account's balances at the bounds of a period, and the sums of the postings between; minor units."""

    currency: str
    opening_minor: int
    closing_minor: int
    credited_minor: int
    debited_minor: int
    postings: int


def _parse_seq(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_SEQ:
        raise ValueError(value)
    return value


@dataclass(frozen=True)
class _SeqSort(Sort):
    """The order of an account's postings: by seq."""

    def keyset_values(self, row: PostingLine) -> tuple[int, UUID]:
        return row.posting.seq, row.posting.transaction_id


BY_SEQ = _SeqSort("seq", col(Posting.seq), col(Posting.transaction_id), descending=False, parse=_parse_seq)


@dataclass(frozen=True)
class PostingFilter:
    """The bounds of a `Period`, which may be expressions."""

    start: datetime | None = None
    end: datetime | None = None


def select_postings(actor: Actor, *, where: PostingFilter, owner: Any) -> tuple[Select[Posting]]:
    """Select the postings in a period of the account with the number `owner`; none unless it may be seen."""
    of_number = col(LedgerAccount.id) == owner
    book_id = select(col(LedgerAccount.book_id)).where(of_number).scalar_subquery()
    readable = select(col(LedgerAccount.id)).where(of_number, visibility.postings_are_visible(actor))

    def is_of(table: Any) -> ColumnElement[bool]:
        return and_(col(table.book_id) == book_id, col(table.account_id) == owner)

    return (_postings_in(where, is_of).where(readable.exists()),)


def select_account(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[LedgerAccount]]:
    """Select the account whose number the id of `where` holds, if the actor may see it."""
    assert owner is None
    digits = func.replace(cast(where.id, Text), "-", "")
    number = cast(cast(func.concat("x", func.right(digits, 16)), BIT(64)), BigInteger)
    is_number = func.left(digits, 16) == func.repeat("0", 16)
    statement = select(LedgerAccount).join(Collective, col(LedgerAccount.owner_id) == Collective.id)
    is_visible = visibility.ledger_account_is_visible(actor)
    return (statement.where(col(LedgerAccount.id) == number, is_number, is_visible),)


async def load_accounts_by_number(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, LedgerAccount]:
    """Load the visible accounts whose numbers these ids hold."""
    numbers = {row_id.int: row_id for row_id in row_ids if row_id.int <= _MAX_SEQ}
    statement = (
        select(LedgerAccount)
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(col(LedgerAccount.id).in_(numbers), visibility.ledger_account_is_visible(actor))
    )
    return {numbers[row.id]: row for row in (await session.execute(statement)).scalars()}


async def list_posting_pages(
    session: AsyncSession, actor: Actor, *, accounts: Sequence[AccountId], period: Period, page: PageRequest
) -> dict[AccountId, Page[PostingLine]]:
    """List a page of the postings of each account, in one statement. Order: by seq.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    seq = col(Posting.seq)
    within = _postings_in(period).order_by(seq.desc() if page.is_backward else seq).limit(page.size + 1)
    if page.cursor is not None:
        found, _ = pagination.decode_cursor(page.cursor, BY_SEQ, field=page.cursor_field)
        position = literal(found, BigInteger)
        within = within.where(seq < position if page.is_backward else seq > position)
    inner = within.lateral("page")
    row = aliased(Posting, inner)
    statement = (
        select(row, LedgerAccount)
        .select_from(LedgerAccount)
        .join(inner, onclause=true())
        .where(_has_key(accounts), visibility.postings_are_visible(actor))
        .order_by(col(row.seq))
    )
    lines: dict[AccountId, list[PostingLine]] = {key: [] for key in accounts}
    for posting, account in (await session.execute(statement)).all():
        lines[account.book_id, account.id].append(PostingLine(posting, account))
    return {
        key: pagination.to_page(its, partial(_query_postings, actor, key, period), sort=BY_SEQ, page=page)
        for key, its in lines.items()
    }


async def load_statements(
    session: AsyncSession, actor: Actor, *, accounts: Sequence[AccountId], period: Period
) -> dict[AccountId, AccountStatement]:
    """Load the statement of each account for one period, if the actor may see it; one statement."""
    account = (col(LedgerAccount.book_id), col(LedgerAccount.id))
    statement = _select_statements(actor, period).add_columns(*account).where(_has_key(accounts))
    return {
        (book_id, account_id): AccountStatement(currency, *map(int, figures))
        for currency, *figures, book_id, account_id in (await session.execute(statement)).all()
    }


def select_statement(actor: Actor, *, where: PostingFilter, owner: Any) -> tuple[Select[Any]]:
    """Select the statement of the account with the number `owner`; none unless it may be seen."""
    return (_select_statements(actor, where).where(col(LedgerAccount.id) == owner),)


def _select_statements(actor: Actor, period: Period | PostingFilter) -> Select[Any]:
    """Select the statements of accounts whose postings the actor may see.

    The balances at the bounds are one look-up each; the sums read the postings between.
    """
    amount = col(Posting.amount)
    between = (
        _postings_in(period)
        .with_only_columns(
            func.coalesce(func.sum(amount).filter(amount > 0), 0).label("credited"),
            func.coalesce(func.sum(amount).filter(amount < 0), 0).label("debited"),
            func.count().label("postings"),
        )
        .lateral("between")
    )
    opening = literal(0) if period.start is None else _balance_before(period.start)
    closing = col(LedgerAccount.posted) if period.end is None else _balance_before(period.end)
    return (
        select(
            col(LedgerAccount.currency),
            opening.label("opening_minor"),
            closing.label("closing_minor"),
            between.c.credited.label("credited_minor"),
            between.c.debited.label("debited_minor"),
            between.c.postings,
        )
        .select_from(LedgerAccount)
        .join(between, onclause=true())
        .where(visibility.postings_are_visible(actor))
    )


def _has_key(accounts: Sequence[AccountId]) -> Any:
    return tuple_(col(LedgerAccount.book_id), col(LedgerAccount.id)).in_(list(accounts))


def _query_postings(actor: Actor, key: AccountId, period: Period) -> Select[Any]:
    """Select all postings of one account in a period, as far as the actor may see them."""
    inner = _postings_in(period).lateral("its")
    return (
        select(inner.c.seq)
        .select_from(LedgerAccount)
        .join(inner, onclause=true())
        .where(_has_key([key]), visibility.postings_are_visible(actor))
    )


def _postings_in(period: Period | PostingFilter, is_of: IsOf | None = None) -> Select[Any]:
    """Select the postings in a period of one account, by default that of the enclosing statement.

    Time follows seq, so the bounds become numbers, and a page is one range of the primary key.
    """
    is_of = is_of or _is_of_account
    seq, at = col(_BOUND.seq), col(_BOUND.at)
    statement = select(Posting).where(is_of(Posting)).correlate(LedgerAccount)
    if period.start is not None:
        first = _bound(seq, is_of).where(at >= period.start).order_by(at, seq).limit(1)
        statement = statement.where(col(Posting.seq) >= first.scalar_subquery())
    if period.end is not None:
        last = _bound(seq, is_of).where(at < period.end).order_by(at.desc(), seq.desc()).limit(1)
        statement = statement.where(col(Posting.seq) <= last.scalar_subquery())
    return statement


def _balance_before(end: Any) -> Any:
    """Select the balance after the account's last posting before a time."""
    last = (
        _bound(col(_BOUND.balance_after), _is_of_account)
        .where(col(_BOUND.at) < end)
        .order_by(col(_BOUND.at).desc(), col(_BOUND.seq).desc())
        .limit(1)
    )
    return func.coalesce(last.scalar_subquery(), 0)


def _bound(column: Any, is_of: IsOf) -> Select[Any]:
    return select(column).where(is_of(_BOUND)).correlate(LedgerAccount)


def _is_of_account(table: Any) -> ColumnElement[bool]:
    return and_(
        col(table.book_id) == col(LedgerAccount.book_id), col(table.account_id) == col(LedgerAccount.id)
    )
