"""Reads of orders and transactions that the viewer may see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Order, RecurringGift, Transaction
from models.enums import OrderStatus, OrderType, TransactionKind
from services.access import giver_visibility, visibility
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
    """Conditions on a list of orders."""

    type: Sequence[OrderType] = ()
    status: Sequence[OrderStatus] = ()
    from_id: UUID | None = None
    to_id: UUID | None = None
    event_id: UUID | None = None
    addressed_to_id: UUID | None = None
    claimed_giver_id: UUID | None = None
    offer_id: UUID | None = None
    tier_id: UUID | None = None
    subscription_id: UUID | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TransactionFilter:
    """Conditions on a list of transactions."""

    kind: Sequence[TransactionKind] = ()
    from_id: UUID | None = None
    to_id: UUID | None = None
    order_id: UUID | None = None
    group_id: UUID | None = None
    at_from: datetime | None = None
    at_until: datetime | None = None


def _order_conditions(actor: Actor, where: OrderFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.type:
        conditions.append(col(Order.type).in_(where.type))
    if where.status:
        conditions.append(col(Order.status).in_(where.status))
    ids = ("from_id", "to_id", "event_id", "addressed_to_id", "claimed_giver_id", "offer_id", "tier_id")
    conditions += [
        getattr(Order, name) == row_id for name in ids if (row_id := getattr(where, name)) is not None
    ]
    if where.subscription_id is not None:
        gift = select(col(RecurringGift.id)).where(
            col(RecurringGift.id) == where.subscription_id, visibility.recurring_gift_is_visible(actor)
        )
        conditions.append(col(Order.subscription_id).in_(gift))
        # The orders of a gift that is incognito now, and was not before, would tell who gives now.
        is_like_gift = select(col(RecurringGift.id)).where(
            col(RecurringGift.id) == where.subscription_id,
            col(RecurringGift.is_incognito) == col(Order.is_incognito),
        )
        knows_both = (
            giver_visibility.order_giver_is_visible(actor),
            _knows_giver(actor, where.subscription_id),
        )
        conditions.append(or_(is_like_gift.exists(), and_(*knows_both)))
    if where.from_id is not None:
        conditions.append(giver_visibility.order_giver_is_visible(actor))
    if where.created_from is not None:
        conditions.append(col(Order.created_at) >= where.created_from)
    if where.created_until is not None:
        conditions.append(col(Order.created_at) < where.created_until)
    if where.addressed_to_id is not None:
        conditions.append(visibility.addressee_is_visible(actor))
    if where.claimed_giver_id is not None:
        conditions.append(visibility.claimed_giver_is_visible(actor))
    return conditions


def _knows_giver(actor: Actor, gift_id: Any) -> ColumnElement[bool]:
    gift = select(col(RecurringGift.id)).where(
        col(RecurringGift.id) == gift_id, giver_visibility.recurring_giver_is_visible(actor)
    )
    return gift.exists()


def _transaction_conditions(actor: Actor, where: TransactionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.kind:
        conditions.append(col(Transaction.kind).in_(where.kind))
    if where.from_id is not None:
        conditions.append(col(Transaction.from_collective_id) == where.from_id)
        conditions.append(giver_visibility.transaction_giver_is_visible(actor))
    if where.to_id is not None:
        conditions.append(col(Transaction.to_collective_id) == where.to_id)
    if where.order_id is not None:
        conditions.append(col(Transaction.order_id) == where.order_id)
    if where.group_id is not None:
        conditions.append(col(Transaction.group_id) == where.group_id)
    if where.at_from is not None:
        conditions.append(col(Transaction.at) >= where.at_from)
    if where.at_until is not None:
        conditions.append(col(Transaction.at) < where.at_until)
    return conditions


@dataclass(frozen=True)
class _List:
    """A list of rows that have a collective on either side, the first of which may be incognito."""

    name: str
    table: Any
    sides: tuple[Any, Any]
    is_visible: Callable[[Actor], ColumnElement[bool]]
    is_first_visible: Callable[[Actor], ColumnElement[bool]]


_ORDERS = _List(
    "orders",
    Order,
    (col(Order.from_id), col(Order.to_id)),
    visibility.order_is_visible,
    giver_visibility.order_giver_is_visible,
)
_TRANSACTIONS = _List(
    "transactions",
    Transaction,
    (col(Transaction.from_collective_id), col(Transaction.to_collective_id)),
    visibility.transaction_is_visible,
    giver_visibility.transaction_giver_is_visible,
)


def select_orders(actor: Actor, *, where: OrderFilter, owner: Any = None) -> tuple[Select[Order], ...]:
    """Select what `list_orders` lists, in parts that share no row; values may be expressions."""
    return _select_parts(actor, _ORDERS, _order_conditions(actor, where), owner)


def select_transactions(
    actor: Actor, *, where: TransactionFilter, owner: Any = None
) -> tuple[Select[Transaction], ...]:
    """Select what `list_transactions` lists, in parts that share no row; values may be expressions."""
    return _select_parts(actor, _TRANSACTIONS, _transaction_conditions(actor, where), owner)


def select_order(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Order]]:
    """Select the order with the id of `where`, if the actor may see it."""
    assert owner is None
    return (select(Order).where(col(Order.id) == where.id, visibility.order_is_visible(actor)),)


def select_transaction(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Transaction]]:
    """Select the transaction with the id of `where`, if the actor may see it."""
    assert owner is None
    visible = visibility.transaction_is_visible(actor)
    return (select(Transaction).where(col(Transaction.id) == where.id, visible),)


def _select_parts(
    actor: Actor, rows: _List, conditions: list[ColumnElement[bool]], of_id: Any
) -> tuple[Select[Any], ...]:
    """Select rows; those of a collective in two parts, the second without rows that are in the first.

    A page of each part is an index scan: a single OR over both sides would read the whole history. An
    incognito giver whom the actor may not know is no side.
    """
    visible = select(rows.table).where(rows.is_visible(actor), *conditions)
    if of_id is None:
        return (visible,)
    first, second = rows.sides
    is_known = rows.is_first_visible(actor)
    is_not_first = or_(first.is_distinct_from(of_id), is_known.is_not(true()))
    return visible.where(first == of_id, is_known), visible.where(second == of_id, is_not_first)


async def list_orders(
    session: AsyncSession,
    actor: Actor,
    *,
    where: OrderFilter,
    page: PageRequest,
    sort: Sort = ORDERS_NEWEST,
    of_id: UUID | None = None,
) -> Page[Order]:
    """List visible orders; with `of_id`, those with the collective as payer or payee.

    With `claimed_giver_id` or `addressed_to_id`, only those of which the actor may know that person.
    """
    return await _list_page(session, actor, _ORDERS, _order_conditions(actor, where), of_id, sort, page)


async def list_transactions(
    session: AsyncSession,
    actor: Actor,
    *,
    where: TransactionFilter,
    page: PageRequest,
    sort: Sort = TRANSACTIONS_NEWEST,
    of_id: UUID | None = None,
) -> Page[Transaction]:
    """List visible transactions; with `of_id`, those with the collective as payer or payee."""
    return await _list_page(
        session, actor, _TRANSACTIONS, _transaction_conditions(actor, where), of_id, sort, page
    )


async def _list_page(
    session: AsyncSession,
    actor: Actor,
    rows: _List,
    conditions: list[ColumnElement[bool]],
    of_id: UUID | None,
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """List a page; without a filter, by a statement whose text is cached."""

    def query() -> Select[Any]:
        return select(rows.table).where(rows.is_visible(actor), *conditions)

    if of_id is not None:
        parts = _select_parts(actor, rows, conditions, of_id)
        return await _list_merged(
            session, rows, parts, query().where(_is_side(actor, rows, of_id)), sort, page
        )
    if conditions:
        return await pagination.list_page(session, query(), sort=sort, page=page)
    return await fetch.fetch_page(
        session, actor, name=rows.name, table=rows.table, statement=query, sort=sort, page=page
    )


def _is_side(actor: Actor, rows: _List, of_id: UUID) -> ColumnElement[bool]:
    first, second = rows.sides
    return or_(and_(first == of_id, rows.is_first_visible(actor)), second == of_id)


async def _list_merged(
    session: AsyncSession,
    rows: _List,
    parts: Sequence[Select[Any]],
    whole: Select[Any],
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """List a page of the parts of a list; `whole` selects the list, to count it."""
    union = union_all(
        *(pagination.apply_keyset(part, sort=sort, page=page).subquery().select() for part in parts)
    ).subquery()
    merged = aliased(rows.table, union)
    key, row_id = getattr(merged, sort.key.key), merged.id
    is_descending = sort.descending != page.is_backward
    order = (key.desc(), row_id.desc()) if is_descending else (key.asc(), row_id.asc())
    statement = select(merged).order_by(*order).limit(page.size + 1)
    found = list((await session.execute(statement)).scalars().all())
    if page.is_backward:
        found.reverse()
    return pagination.to_page(found, lambda: whole, sort=sort, page=page)


async def load_orders(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Load the orders that the actor may see, in one statement."""
    return await fetch.fetch_by_ids(
        session, actor, table=Order, is_visible=visibility.order_is_visible, row_ids=row_ids
    )


async def load_transactions(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Transaction]:
    """Load the transactions that the actor may see, in one statement."""
    return await fetch.fetch_by_ids(
        session, actor, table=Transaction, is_visible=visibility.transaction_is_visible, row_ids=row_ids
    )


def select_transactions_of_order(
    actor: Actor, *, where: object = None, owner: Any
) -> tuple[Select[Transaction]]:
    """Select the transactions of an order that the actor may see."""
    del where  # has no conditions
    visible = visibility.transaction_is_visible(actor)
    return (select(Transaction).where(col(Transaction.order_id) == owner, visible),)


def select_refunds(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Transaction]]:
    """Select the refunds of a transaction that the actor may see."""
    del where  # has no conditions
    visible = visibility.transaction_is_visible(actor)
    return (select(Transaction).where(col(Transaction.refund_of_id) == owner, visible),)


async def load_transactions_of_orders(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, list[Transaction]]:
    """Load the transactions of orders, oldest first, in one statement."""
    return await fetch.fetch_lists(
        session,
        actor,
        select_of=select_transactions_of_order,
        sort=TRANSACTIONS_OLDEST,
        by="order_id",
        owner_ids=order_ids,
    )


async def load_refunds(
    session: AsyncSession, actor: Actor, *, transaction_ids: Sequence[UUID]
) -> dict[UUID, list[Transaction]]:
    """Load the refunds of transactions, oldest first, in one statement."""
    return await fetch.fetch_lists(
        session,
        actor,
        select_of=select_refunds,
        sort=TRANSACTIONS_OLDEST,
        by="refund_of_id",
        owner_ids=transaction_ids,
    )


async def load_group(session: AsyncSession, actor: Actor, *, transaction_id: UUID) -> list[Transaction]:
    """Load the transactions that were posted together with this one, oldest first."""
    group = select(col(Transaction.group_id)).where(col(Transaction.id) == transaction_id).scalar_subquery()
    statement = (
        select(Transaction)
        .where(
            col(Transaction.order_id)
            == select(col(Transaction.order_id))
            .where(col(Transaction.id) == transaction_id)
            .scalar_subquery(),
            col(Transaction.group_id) == group,
            visibility.transaction_is_visible(actor),
        )
        .order_by(col(Transaction.at), col(Transaction.id))
    )
    return list((await session.execute(statement)).scalars())
