"""Reading orders, transactions and the ledger: only what the actor may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, LedgerAccount, Order, OrderAction, Posting, Transaction
from models.enums import LedgerAccountKind, OrderStatus, OrderType, TransactionKind
from services.access import visibility
from services.access.actor import Actor
from services.core import pagination
from services.core.pagination import Page, PageRequest, Sort
from services.database import fetch

ORDERS_NEWEST = Sort("order", col(Order.created_at), col(Order.id))
ORDERS_OLDEST = Sort("order+", col(Order.created_at), col(Order.id), descending=False)
TRANSACTIONS_NEWEST = Sort("at", col(Transaction.at), col(Transaction.id))
TRANSACTIONS_OLDEST = Sort("at+", col(Transaction.at), col(Transaction.id), descending=False)


@dataclass(frozen=True, kw_only=True)
class OrderFilter:
    """Which orders to list."""

    type: Sequence[OrderType] = ()
    status: Sequence[OrderStatus] = ()
    from_id: UUID | None = None
    to_id: UUID | None = None
    event_id: UUID | None = None
    addressed_to_id: UUID | None = None
    offer_id: UUID | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TransactionFilter:
    """Which transactions to list."""

    kind: Sequence[TransactionKind] = ()
    from_id: UUID | None = None
    to_id: UUID | None = None
    order_id: UUID | None = None
    group_id: UUID | None = None
    at_from: datetime | None = None
    at_until: datetime | None = None


def _order_conditions(wanted: OrderFilter, table: Any = Order) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type:
        found.append(table.type.in_(wanted.type))
    if wanted.status:
        found.append(table.status.in_(wanted.status))
    if wanted.from_id:
        found.append(table.from_id == wanted.from_id)
    if wanted.to_id:
        found.append(table.to_id == wanted.to_id)
    if wanted.event_id:
        found.append(table.event_id == wanted.event_id)
    if wanted.addressed_to_id:
        found.append(table.addressed_to_id == wanted.addressed_to_id)
    if wanted.offer_id:
        found.append(table.offer_id == wanted.offer_id)
    if wanted.created_from:
        found.append(table.created_at >= wanted.created_from)
    if wanted.created_until:
        found.append(table.created_at < wanted.created_until)
    return found


def _transaction_conditions(wanted: TransactionFilter, table: Any = Transaction) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.kind:
        found.append(table.kind.in_(wanted.kind))
    if wanted.from_id:
        found.append(table.from_collective_id == wanted.from_id)
    if wanted.to_id:
        found.append(table.to_collective_id == wanted.to_id)
    if wanted.order_id:
        found.append(table.order_id == wanted.order_id)
    if wanted.group_id:
        found.append(table.group_id == wanted.group_id)
    if wanted.at_from:
        found.append(table.at >= wanted.at_from)
    if wanted.at_until:
        found.append(table.at < wanted.at_until)
    return found


async def orders(
    session: AsyncSession,
    actor: Actor,
    *,
    wanted: OrderFilter,
    page: PageRequest,
    sort: Sort = ORDERS_NEWEST,
    of_id: UUID | None = None,
) -> Page[Order]:
    """List orders; with `of_id`, those that the collective gives or gets."""

    def every() -> Select[Order]:
        return select(Order).where(visibility.of_order(actor), *_order_conditions(wanted))

    if of_id is not None:
        return await _of_either_side(
            session,
            Order,
            (col(Order.from_id), col(Order.to_id)),
            [visibility.of_order(actor), *_order_conditions(wanted)],
            of_id,
            sort,
            page,
        )
    if wanted != OrderFilter():
        return await pagination.read(session, every(), sort=sort, page=page)
    return await fetch.page(session, actor, name="orders", table=Order, statement=every, sort=sort, page=page)


async def transactions(
    session: AsyncSession,
    actor: Actor,
    *,
    wanted: TransactionFilter,
    page: PageRequest,
    sort: Sort = TRANSACTIONS_NEWEST,
    of_id: UUID | None = None,
) -> Page[Transaction]:
    """List transactions; with `of_id`, those with the collective on a side."""

    def every() -> Select[Transaction]:
        return select(Transaction).where(visibility.of_transaction(actor), *_transaction_conditions(wanted))

    if of_id is not None:
        return await _of_either_side(
            session,
            Transaction,
            (col(Transaction.from_collective_id), col(Transaction.to_collective_id)),
            [visibility.of_transaction(actor), *_transaction_conditions(wanted)],
            of_id,
            sort,
            page,
        )
    if wanted != TransactionFilter():
        return await pagination.read(session, every(), sort=sort, page=page)
    return await fetch.page(
        session, actor, name="transactions", table=Transaction, statement=every, sort=sort, page=page
    )


async def _of_either_side(
    session: AsyncSession,
    table: Any,
    sides: tuple[Any, Any],
    conditions: list[ColumnElement[bool]],
    of_id: UUID,
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """Read a page of rows that have the collective on one side or the other.

    Two index scans of a page each, merged: a single OR over both sides would read the whole history. A row
    with it on both sides comes from the first scan alone.
    """
    first, second = sides
    halves = [
        select(table).where(first == of_id, *conditions),
        select(table).where(second == of_id, first.is_distinct_from(of_id), *conditions),
    ]
    union = union_all(
        *(pagination.narrow(half, sort=sort, page=page).subquery().select() for half in halves)
    ).subquery()
    merged = aliased(table, union)
    key, row_id = getattr(merged, sort.key.key), merged.id
    order = (key.desc(), row_id.desc()) if sort.descending else (key.asc(), row_id.asc())
    statement = select(merged).order_by(*order).limit(page.first + 1)
    found = list((await session.execute(statement)).scalars().all())
    whole = select(table).where(or_(first == of_id, second == of_id), *conditions)
    return pagination.build(found, lambda: whole, sort=sort, page=page)


async def orders_by_ids(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Return those of the orders that the actor may see; one statement."""
    return await fetch.by_ids(session, actor, table=Order, may_see=visibility.of_order, row_ids=row_ids)


async def transactions_by_ids(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Transaction]:
    """Return those of the transactions that the actor may see; one statement."""
    return await fetch.by_ids(
        session, actor, table=Transaction, may_see=visibility.of_transaction, row_ids=row_ids
    )


async def transactions_of_orders(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, list[Transaction]]:
    """Return the transactions of orders, oldest first; one statement."""
    return await _grouped(session, actor, col(Transaction.order_id), order_ids)


async def refunds_of(
    session: AsyncSession, actor: Actor, *, transaction_ids: Sequence[UUID]
) -> dict[UUID, list[Transaction]]:
    """Return the refunds of transactions, oldest first; one statement."""
    return await _grouped(session, actor, col(Transaction.refund_of_id), transaction_ids)


async def group_of(session: AsyncSession, actor: Actor, *, transaction_id: UUID) -> list[Transaction]:
    """Return the transactions of the same event, in the order in which they were written."""
    group = select(col(Transaction.group_id)).where(col(Transaction.id) == transaction_id).scalar_subquery()
    statement = (
        select(Transaction)
        .where(
            col(Transaction.order_id)
            == select(col(Transaction.order_id))
            .where(col(Transaction.id) == transaction_id)
            .scalar_subquery(),
            col(Transaction.group_id) == group,
            visibility.of_transaction(actor),
        )
        .order_by(col(Transaction.at), col(Transaction.id))
    )
    return list((await session.execute(statement)).scalars())


async def _grouped(
    session: AsyncSession, actor: Actor, column: Any, keys: Sequence[UUID]
) -> dict[UUID, list[Transaction]]:
    statement = (
        select(Transaction)
        .where(column.in_(keys), visibility.of_transaction(actor))
        .order_by(col(Transaction.at), col(Transaction.id))
    )
    found: dict[UUID, list[Transaction]] = {key: [] for key in keys}
    for row in (await session.execute(statement)).scalars():
        found[getattr(row, column.key)].append(row)
    return found


async def actions_of(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, list[OrderAction]]:
    """Return the history of orders, oldest step first; of orders that the viewer may see."""
    statement = (
        select(OrderAction)
        .where(col(OrderAction.order_id).in_(order_ids))
        .order_by(col(OrderAction.order_id), col(OrderAction.at), col(OrderAction.id))
    )
    found: dict[UUID, list[OrderAction]] = {key: [] for key in order_ids}
    for row in (await session.execute(statement)).scalars():
        found[row.order_id].append(row)
    return found


@dataclass(frozen=True)
class PostedLine:
    """A posting with its account and the account's owner."""

    posting: Posting
    account: LedgerAccount


async def postings_of(
    session: AsyncSession, actor: Actor, *, transaction_ids: Sequence[UUID]
) -> dict[UUID, list[PostedLine]]:
    """Return the postings of transactions on accounts that the actor may see, in account order."""
    statement = (
        select(Posting, LedgerAccount)
        .join(
            LedgerAccount,
            (col(LedgerAccount.book_id) == Posting.book_id) & (col(LedgerAccount.id) == Posting.account_id),
        )
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(col(Posting.transaction_id).in_(transaction_ids), visibility.of_ledger_account(actor))
        .order_by(col(Posting.book_id), col(Posting.account_id), col(Posting.seq))
    )
    found: dict[UUID, list[PostedLine]] = {key: [] for key in transaction_ids}
    for posting, account in (await session.execute(statement)).all():
        found[posting.transaction_id].append(PostedLine(posting, account))
    return found


async def ledger_accounts(
    session: AsyncSession,
    actor: Actor,
    *,
    book_ids: Sequence[UUID],
    kinds: Sequence[LedgerAccountKind] = (),
) -> dict[UUID, list[LedgerAccount]]:
    """Return the accounts of hosts' own books that are owned by the host, by kind and currency.

    With them an EXCHANGE position or the cash can be read. An organization's books are open.
    """
    statement = (
        select(LedgerAccount)
        .join(Collective, col(LedgerAccount.owner_id) == Collective.id)
        .where(
            visibility.of_ledger_account(actor),
            col(LedgerAccount.book_id).in_(book_ids),
            col(LedgerAccount.owner_id) == col(LedgerAccount.book_id),
            col(LedgerAccount.kind).in_(kinds) if kinds else literal(value=True),
        )
        .order_by(col(LedgerAccount.kind), col(LedgerAccount.currency))
    )
    found: dict[UUID, list[LedgerAccount]] = {key: [] for key in book_ids}
    for row in (await session.execute(statement)).scalars():
        found[row.book_id].append(row)
    return found
