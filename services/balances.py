"""Balances, now and as of any moment: always one look-up an account, never a sum over history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, case, false, func, literal, or_, select, union_all
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
from services import visibility
from services.actors import Actor
from services.money import Money

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


async def of(
    session: AsyncSession,
    actor: Actor,
    *,
    collective_ids: Sequence[UUID],
    as_of: datetime | None = None,
) -> dict[UUID, list[Balance]]:
    """Return balances of collectives in every currency they have, their own first, then by code.

    A collective whose balance the actor may not see has an empty list. Two statements, three for the past.
    """
    owners = (
        await session.execute(
            select(Collective).where(
                col(Collective.id).in_(collective_ids), visibility.of_collective(actor)
            )
        )
    ).scalars().all()  # fmt: skip
    visible = {row.id: row for row in owners if visibility.sees_balance(actor, row)}
    moment = as_of or now()
    sums: dict[tuple[UUID, str], list[int]] = {
        (row.id, row.currency): [0, 0, 0] for row in visible.values()
        if row.type != CollectiveType.EVENT
    }  # fmt: skip
    for line in await _accounts(session, list(visible), as_of):
        total = sums.setdefault((line.owner_id, line.currency), [0, 0, 0])
        total[0] += line.posted
        total[1] += line.held
    if as_of is None:
        for line in await _pending(session, list(visible)):
            sums.setdefault((line.owner_id, line.currency), [0, 0, 0])[2] += int(line.pending)
    return {owner_id: _sorted(visible.get(owner_id), sums, owner_id, moment) for owner_id in collective_ids}


def _sorted(
    owner: Collective | None,
    sums: dict[tuple[UUID, str], list[int]],
    owner_id: UUID,
    moment: datetime,
) -> list[Balance]:
    if owner is None:
        return []
    found = [
        Balance(currency, moment, *figures)
        for (of_id, currency), figures in sums.items()
        if of_id == owner_id
    ]
    return sorted(found, key=lambda b: (b.currency != owner.currency, b.currency))


async def _accounts(
    session: AsyncSession, owner_ids: list[UUID], as_of: datetime | None
) -> Sequence[Row[Any]]:
    """Read posted and held of the owners' balance accounts, over all books."""
    of_owners = and_(
        col(LedgerAccount.owner_id).in_(owner_ids),
        col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
    )
    if as_of is None:
        statement: Any = select(
            col(LedgerAccount.owner_id), col(LedgerAccount.currency),
            col(LedgerAccount.posted).label("posted"), col(LedgerAccount.held).label("held"),
        ).where(of_owners)  # fmt: skip
        return list((await session.execute(statement)).all())
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
    )  # fmt: skip
    held = (
        select(func.coalesce(func.sum(col(Hold.amount)), 0))
        .where(
            col(Hold.book_id) == col(LedgerAccount.book_id), col(Hold.account_id) == col(LedgerAccount.id),
            col(Hold.created_at) <= as_of,
            or_(col(Hold.released_at).is_(None), col(Hold.released_at) > as_of),
        )
        .scalar_subquery()
    )  # fmt: skip
    past = select(
        col(LedgerAccount.owner_id), col(LedgerAccount.currency),
        func.coalesce(last, 0).label("posted"), held.label("held"),
    ).where(of_owners)  # fmt: skip
    return list((await session.execute(past)).all())


async def _pending(session: AsyncSession, owner_ids: list[UUID]) -> Sequence[Row[Any]]:
    """Sum incoming orders that are not posted yet: they carry their receiver's currency.

    Of a redemption, the business's currents until it is approved, and the user's dollars until it is paid.
    One statement.
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
        col(Order.to_id).label("owner_id"), col(Order.currency).label("currency"),
        func.coalesce(col(Order.approved_amount), col(Order.amount)).label("minor"),
    ).where(
        col(Order.to_id).in_(owner_ids), into_balance == literal(value=True), _OPEN
    )  # fmt: skip
    dollars: Any = (
        select(
            col(Order.from_id).label("owner_id"), literal("USD").label("currency"),
            (col(Redemption.usd_gross_minor) - col(Redemption.usd_fee_minor)).label("minor"),
        )
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(col(Order.from_id).in_(owner_ids), col(Order.type) == OrderType.REDEMPTION, _OPEN)
    )  # fmt: skip
    each = union_all(incoming, dollars).subquery("each")
    statement: Any = select(
        each.c.owner_id, each.c.currency, func.sum(each.c.minor).label("pending")
    ).group_by(each.c.owner_id, each.c.currency)
    return list((await session.execute(statement)).all())
