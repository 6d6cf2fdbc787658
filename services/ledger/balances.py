"""Balances, now and at any earlier time: one look-up for each account, never a sum over history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Numeric,
    Select,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Hold, LedgerAccount, Order, Posting, Redemption, now
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
)
from services.access import row_visibility, visibility
from services.access.actor import Actor
from services.core.money import Money
from services.core.pagination import Sort
from services.database import fetch

_OPEN = col(Order.status).in_([OrderStatus.PENDING, OrderStatus.APPROVED])


@dataclass(frozen=True)
class Balance:
    """A collective's balance in one currency at one time."""

    currency: str
    as_of: datetime
    posted_minor: int
    held_minor: int
    pending_minor: int

    @property
    def posted(self) -> Money:
        """The sum of the postings."""
        return Money(self.posted_minor, self.currency)

    @property
    def held(self) -> Money:
        """The part set aside for unsettled orders: approved expenses, redemptions, cash-outs."""
        return Money(self.held_minor, self.currency)

    @property
    def available(self) -> Money:
        """The part that can be spent: posted - held."""
        return Money(self.posted_minor - self.held_minor, self.currency)

    @property
    def pending(self) -> Money:
        """The sum that incoming orders would add."""
        return Money(self.pending_minor, self.currency)


@dataclass(frozen=True)
class Owner:
    """The columns of a visible collective that its balances depend on."""

    id: UUID
    type: str
    currency: str
    host_id: UUID | None
    parent_id: UUID | None

    @classmethod
    def from_row(cls, row: Collective) -> "Owner":
        """Take the columns from a collective's row."""
        return cls(row.id, row.type, row.currency, row.host_id, row.parent_id)


async def load_balances(
    session: AsyncSession, actor: Actor, *, owners: Sequence[Owner], as_of: datetime | None = None
) -> dict[Owner, list[Balance]]:
    """Load the balances of collectives in every currency they hold, in one statement.

    Order: the collective's own currency first, then by code. The list is empty if the actor may not see the
    balance.
    """
    visible = [owner for owner in owners if row_visibility.can_read_balance(actor, owner)]
    at = as_of or now()
    sums: dict[UUID, dict[str, list[int]]] = {
        owner.id: {} if owner.type == CollectiveType.EVENT else {owner.currency: [0, 0, 0]}
        for owner in visible
    }
    for line in await _load_lines(session, actor, list(sums), as_of) if sums else ():
        total = sums[line.owner_id].setdefault(line.currency, [0, 0, 0])
        total[0] += line.posted
        total[1] += line.held
        total[2] += int(line.pending)
    return {owner: _to_balances(owner, sums.get(owner.id, {}), at) for owner in owners}


def _to_balances(owner: Owner, sums: dict[str, list[int]], at: datetime) -> list[Balance]:
    balances = [Balance(currency, at, *totals) for currency, totals in sums.items()]
    return sorted(balances, key=lambda b: (b.currency != owner.currency, b.currency))


async def _load_lines(
    session: AsyncSession, actor: Actor, owner_ids: list[UUID], as_of: datetime | None
) -> Sequence[Any]:
    """Read the owners' accounts and, without `as_of`, their incoming orders; one statement."""

    def build() -> Any:
        owned = partial(fetch.in_ids, name="owner_ids", row_ids=owner_ids)
        if as_of is not None:
            return _account_lines(owned, as_of)
        return select(union_all(_account_lines(owned), _pending_lines(owned)).subquery("line"))

    if as_of is not None:
        return list((await session.execute(build())).all())
    return await fetch.fetch_rows(session, actor, name="balances", build=build, owner_ids=owner_ids)


def balance_query(owner: Any, currency: Any, as_of: Any, *, is_past: bool) -> Select[Any]:
    """Select the balance of `owner`, a column of another table: always one row.

    It is that of the moment `as_of` if that `is_past`, else the present one.
    """
    if is_past:
        line = _account_lines(lambda c: c == owner, as_of).subquery("line")
    else:
        line = union_all(_account_lines(lambda c: c == owner), _pending_lines(lambda c: c == owner)).subquery(
            "line"
        )

    def total(column: Any) -> Any:
        return sql_cast(func.coalesce(func.sum(column), 0), Numeric)

    posted, held, pending = total(line.c.posted), total(line.c.held), total(line.c.pending)
    return select(
        sql_cast(currency, Text).label("currency"),
        sql_cast(as_of, DateTime(timezone=True)).label("as_of"),
        posted.label("posted"),
        held.label("held"),
        pending.label("pending"),
        (posted - held).label("available"),
    ).where(line.c.currency == currency)


@dataclass(frozen=True)
class BalancesAt:
    """The moment of a list of balances."""

    as_of: Any = None
    """None for now."""


def select_balances(actor: Actor, *, where: BalancesAt, owner: Any) -> tuple[Select[Any]]:
    """Select the balances of `owner`, a column of another table: its own currency first, then by code.

    No row if the actor may not see them.
    """
    if where.as_of is None:
        lines = union_all(_account_lines(lambda c: c == owner), _pending_lines(lambda c: c == owner))
    else:
        lines = union_all(_account_lines(lambda c: c == owner, where.as_of))
    own: Any = aliased(Collective, name="balance_owner")
    line, zero = lines.subquery("line"), sql_cast(literal(0), Numeric)
    columns = (line.c.currency, line.c.posted, line.c.held, line.c.pending)
    every = union_all(
        select(*columns),
        select(own.currency, zero, zero, zero).where(
            own.id == owner, own.type != literal(CollectiveType.EVENT, Text)
        ),
    ).subquery("every")
    posted, held, pending = (
        sql_cast(func.sum(column), Numeric) for column in (every.c.posted, every.c.held, every.c.pending)
    )
    place = case((every.c.currency == own.currency, ""), else_=every.c.currency).label("place")
    found = (
        select(
            every.c.currency,
            sql_cast(func.now() if where.as_of is None else where.as_of, DateTime(timezone=True)).label(
                "as_of"
            ),
            *(posted.label("posted"), held.label("held"), pending.label("pending")),
            *((posted - held).label("available"), place),
        )
        .join_from(own, every, true())
        .where(own.id == owner, visibility.balance_is_visible(actor, own))
        .group_by(every.c.currency, own.currency)
    ).subquery("balances")
    return (select(*found.c, found.c.place.label("id")),)


_PLACE: Any = literal_column("balances.place", Text)
BALANCES = Sort("BALANCES", _PLACE, _PLACE, descending=False)


def _account_lines(owned: Callable[[Any], Any], as_of: Any = None) -> Any:
    """Select the posted and held amounts of the owners' balance accounts in all books."""
    is_balance = and_(
        owned(col(LedgerAccount.owner_id)), col(LedgerAccount.kind) == LedgerAccountKind.BALANCE
    )
    nothing = sql_cast(literal(0), Numeric).label("pending")
    if as_of is None:
        return select(
            col(LedgerAccount.owner_id).label("owner_id"),
            col(LedgerAccount.currency).label("currency"),
            col(LedgerAccount.posted).label("posted"),
            col(LedgerAccount.held).label("held"),
            nothing,
        ).where(is_balance)
    last = (
        select(col(Posting.balance_after))
        .where(
            col(Posting.book_id) == col(LedgerAccount.book_id),
            col(Posting.account_id) == col(LedgerAccount.id),
            col(Posting.at) <= as_of,
        )
        .order_by(col(Posting.at).desc(), col(Posting.seq).desc())
        .limit(1)
        .scalar_subquery()
    )
    held = (
        select(func.coalesce(func.sum(col(Hold.amount)), 0))
        .where(
            col(Hold.book_id) == col(LedgerAccount.book_id),
            col(Hold.account_id) == col(LedgerAccount.id),
            col(Hold.created_at) <= as_of,
            or_(col(Hold.released_at).is_(None), col(Hold.released_at) > as_of),
        )
        .scalar_subquery()
    )
    return select(
        col(LedgerAccount.owner_id).label("owner_id"),
        col(LedgerAccount.currency).label("currency"),
        func.coalesce(last, 0).label("posted"),
        held.label("held"),
        nothing,
    ).where(is_balance)


def _pending_lines(owned: Callable[[Any], Any]) -> Any:
    """Select the sums of incoming orders that are not posted yet, in their receivers' currency.

    A redemption counts as the business's currents until it is approved, and as the user's dollars until it
    is paid.
    """
    into_balance = case(
        (
            col(Order.type) == OrderType.EXPENSE,
            col(Order.payout_method_kind) == PayoutMethodKind.BALANCE,
        ),
        (col(Order.type) == OrderType.CASH_OUT, false()),
        (col(Order.type) == OrderType.REDEMPTION, col(Order.status) == OrderStatus.PENDING),
        else_=or_(
            col(Order.payment_method_kind).is_(None),
            col(Order.payment_method_kind) == PaymentMethodKind.MANUAL,
        ),
    )
    incoming: Any = select(
        col(Order.to_id).label("owner_id"),
        col(Order.currency).label("currency"),
        func.coalesce(col(Order.approved_amount), col(Order.amount)).label("amount_minor"),
    ).where(owned(col(Order.to_id)), into_balance == literal(value=True), _OPEN)
    dollars: Any = (
        select(
            col(Order.from_id).label("owner_id"),
            literal("USD").label("currency"),
            (col(Redemption.usd_gross_minor) - col(Redemption.usd_fee_minor)).label("amount_minor"),
        )
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(
            owned(col(Order.from_id)),
            col(Order.type) == OrderType.REDEMPTION,
            _OPEN,
        )
    )
    lines = union_all(incoming, dollars).subquery("each")
    zero = sql_cast(literal(0), BigInteger)
    return select(
        lines.c.owner_id,
        lines.c.currency,
        zero.label("posted"),
        zero.label("held"),
        func.sum(lines.c.amount_minor).label("pending"),
    ).group_by(lines.c.owner_id, lines.c.currency)
