"""Balances, now and as of any moment: always one look-up an account, never a sum over history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Numeric,
    Select,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
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
from services.access import visibility
from services.access.actor import Actor
from services.core.money import Money
from services.database import fetch

_OPEN = col(Order.status).in_([OrderStatus.PENDING, OrderStatus.APPROVED])


@dataclass(frozen=True)
class Balance:
    """A collective's balance in one currency at a moment; minor units."""

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
        """What is set aside for orders that are not settled: expenses approved, redemptions, cash-outs."""
        return Money(self.held_minor, self.currency)

    @property
    def available(self) -> Money:
        """What can be spent: posted - held."""
        return Money(self.posted_minor - self.held_minor, self.currency)

    @property
    def pending(self) -> Money:
        """What incoming orders would add."""
        return Money(self.pending_minor, self.currency)


@dataclass(frozen=True)
class Owner:
    """A collective that the viewer was shown, as far as its balances hang on it."""

    id: UUID
    type: str
    currency: str
    host_id: UUID | None
    parent_id: UUID | None

    @classmethod
    def of(cls, row: Collective) -> "Owner":
        """Return a collective as the owner of balances."""
        return cls(row.id, row.type, row.currency, row.host_id, row.parent_id)


async def of(
    session: AsyncSession, actor: Actor, *, owners: Sequence[Owner], as_of: datetime | None = None
) -> dict[Owner, list[Balance]]:
    """Return balances of collectives in every currency they have, their own first, then by code.

    A collective whose balance the actor may not see has an empty list. One statement, now and in the past.
    """
    visible = [owner for owner in owners if visibility.sees_balance(actor, owner)]
    moment = as_of or now()
    sums: dict[UUID, dict[str, list[int]]] = {
        owner.id: {} if owner.type == CollectiveType.EVENT else {owner.currency: [0, 0, 0]}
        for owner in visible
    }
    for line in await _lines(session, actor, list(sums), as_of) if sums else ():
        total = sums[line.owner_id].setdefault(line.currency, [0, 0, 0])
        total[0] += line.posted
        total[1] += line.held
        total[2] += int(line.pending)
    return {owner: _sorted(owner, sums.get(owner.id, {}), moment) for owner in owners}


def _sorted(owner: Owner, sums: dict[str, list[int]], moment: datetime) -> list[Balance]:
    found = [Balance(currency, moment, *figures) for currency, figures in sums.items()]
    return sorted(found, key=lambda b: (b.currency != owner.currency, b.currency))


async def _lines(
    session: AsyncSession, actor: Actor, owner_ids: list[UUID], as_of: datetime | None
) -> Sequence[Any]:
    """Read what the owners' accounts hold and, now, what is on its way to them; one statement."""

    def build() -> Any:
        owned = partial(fetch.among, name="owner_ids", row_ids=owner_ids)
        if as_of is not None:
            return _accounts(owned, as_of)
        return select(union_all(_accounts(owned), _pending(owned)).subquery("line"))

    if as_of is not None:
        return list((await session.execute(build())).all())
    return await fetch.read(session, actor, name="balances", build=build, owner_ids=owner_ids)


def sum_of(owner: Any, currency: Any) -> Select[Any]:
    """Select what an owner, a column of another table, has now in a currency: one row, zeros if nothing."""
    line = union_all(_accounts(lambda c: c == owner), _pending(lambda c: c == owner)).subquery("line")

    def total(column: Any) -> Any:
        return sql_cast(func.coalesce(func.sum(column), 0), Numeric)

    posted, held, pending = total(line.c.posted), total(line.c.held), total(line.c.pending)
    return select(
        sql_cast(currency, Text).label("currency"),
        posted.label("posted"),
        held.label("held"),
        pending.label("pending"),
        (posted - held).label("available"),
    ).where(line.c.currency == currency)


def _accounts(owned: Callable[[Any], Any], as_of: datetime | None = None) -> Any:
    """Select posted and held of the owners' balance accounts, over all books."""
    of_owners = and_(owned(col(LedgerAccount.owner_id)), col(LedgerAccount.kind) == LedgerAccountKind.BALANCE)
    nothing = sql_cast(literal(0), Numeric).label("pending")
    if as_of is None:
        return select(
            col(LedgerAccount.owner_id).label("owner_id"),
            col(LedgerAccount.currency).label("currency"),
            col(LedgerAccount.posted).label("posted"),
            col(LedgerAccount.held).label("held"),
            nothing,
        ).where(of_owners)
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
    ).where(of_owners)


def _pending(owned: Callable[[Any], Any]) -> Any:
    """Sum incoming orders that are not posted yet: they carry their receiver's currency.

    Of a redemption, the business's currents until it is approved, and the user's dollars until it is paid.
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
        func.coalesce(col(Order.approved_amount), col(Order.amount)).label("minor"),
    ).where(owned(col(Order.to_id)), into_balance == literal(value=True), _OPEN)
    dollars: Any = (
        select(
            col(Order.from_id).label("owner_id"),
            literal("USD").label("currency"),
            (col(Redemption.usd_gross_minor) - col(Redemption.usd_fee_minor)).label("minor"),
        )
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(
            owned(col(Order.from_id)),
            col(Order.type) == OrderType.REDEMPTION,
            _OPEN,
        )
    )
    each = union_all(incoming, dollars).subquery("each")
    zero = sql_cast(literal(0), BigInteger)
    return select(
        each.c.owner_id,
        each.c.currency,
        zero.label("posted"),
        zero.label("held"),
        func.sum(each.c.minor).label("pending"),
    ).group_by(each.c.owner_id, each.c.currency)
