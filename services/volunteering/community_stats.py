"""Community statistics: currents issued and accepted, leaderboards and liability."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, distinct, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, LedgerAccount, Order, Redemption, Transaction, now
from models.enums import CollectiveType, LedgerAccountKind, OrderStatus, OrderType, TransactionKind
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import Invalid
from services.core.money import Money
from services.ledger import clearing
from services.ledger.clearing import ClearingDebt
from services.ledger.transaction_amounts import CURRENTS

DOLLARS = "USD"
MAX_PLACES = 100


class Period(StrEnum):
    """Period that figures cover, by ledger time."""

    ALL_TIME = "ALL_TIME"
    """All time since the beginning."""
    YEAR = "YEAR"
    """The last 365 days."""
    MONTH = "MONTH"
    """The last 30 days."""
    WEEK = "WEEK"
    """The last 7 days."""


class LeaderboardBy(StrEnum):
    """Kind of collective that a leaderboard ranks."""

    NONPROFIT = "NONPROFIT"
    """Nonprofits, by currents issued for hours."""
    BUSINESS = "BUSINESS"
    """Businesses, by currents accepted."""
    VOLUNTEER = "VOLUNTEER"
    """People, by currents earned for hours."""


_DAYS = {Period.YEAR: 365, Period.MONTH: 30, Period.WEEK: 7}


@dataclass(frozen=True)
class CommunityStats:
    """Statistics of a period; refunds within it are subtracted from the currents."""

    period: Period
    issued: Money
    accepted: Money
    active_volunteers: int


@dataclass(frozen=True)
class LeaderboardEntry:
    """An entry of a leaderboard; equal amounts have equal ranks."""

    rank: int
    collective_id: UUID
    amount: Money


@dataclass(frozen=True)
class IssuerLiability:
    """Currents that an issuer has outstanding."""

    issuer_id: UUID
    amount: Money


@dataclass(frozen=True)
class LiabilityReport:
    """Dollars that the platform owes and has available, currents outstanding, and debts between hosts."""

    owed: Money
    owed_count: int
    available: Money
    outstanding: list[IssuerLiability]
    clearing: list[ClearingDebt]

    @property
    def outstanding_total(self) -> Money:
        """Total of the outstanding currents."""
        return Money(sum(line.amount.minor_units for line in self.outstanding), CURRENTS)


def _query_transactions(period: Period) -> tuple[Select[Any], Any, Any]:
    """Select a period's transactions with originals of refunds; return query and both tables.

    A refund counts with the kind and sides of its original and its own amount, which is negative.
    """
    row, original = aliased(Transaction), aliased(Transaction)
    statement = select().select_from(row).outerjoin(original, col(row.refund_of_id) == col(original.id))
    if period in _DAYS:
        statement = statement.where(col(row.at) > now() - timedelta(days=_DAYS[period]))
    return statement, row, original


async def load_stats(session: AsyncSession, *, period: Period) -> CommunityStats:
    """Load the community's statistics; one statement. Public, because they name nobody."""
    statement, row, original = _query_transactions(period)
    kind = func.coalesce(original.kind, row.kind)
    earned = row.kind == TransactionKind.HOURS
    statement = statement.where(kind.in_([TransactionKind.HOURS, TransactionKind.REDEMPTION])).add_columns(
        func.coalesce(func.sum(row.amount).filter(kind == TransactionKind.HOURS), 0),
        func.coalesce(func.sum(row.amount).filter(kind == TransactionKind.REDEMPTION), 0),
        func.count(distinct(row.to_collective_id)).filter(earned),
    )
    issued, accepted, volunteers = (await session.execute(statement)).one()
    return CommunityStats(
        period, Money(int(issued), CURRENTS), Money(int(accepted), CURRENTS), int(volunteers)
    )


async def list_leaders(
    session: AsyncSession, *, by: LeaderboardBy, period: Period, first: int
) -> list[LeaderboardEntry]:
    """List the `first` entries of a leaderboard, equal amounts by slug; one statement. Public.

    Unclaimed, archived and merged users are left out, as are archived organizations.

    Raises:
        Invalid: `first` is not 1 to 100.
    """
    if not 1 <= first <= MAX_PLACES:
        raise Invalid(f"Choose 1 to {MAX_PLACES} entries.", field="first")
    statement, row, original = _query_transactions(period)
    kind = TransactionKind.REDEMPTION if by == LeaderboardBy.BUSINESS else TransactionKind.HOURS
    side = "from_collective_id" if by == LeaderboardBy.NONPROFIT else "to_collective_id"
    party = func.coalesce(getattr(original, side), getattr(row, side))
    total = func.sum(row.amount)
    statement = (
        statement.join(Collective, col(Collective.id) == party)
        .where(func.coalesce(original.kind, row.kind) == kind, *_eligible(by))
        .group_by(col(Collective.id), col(Collective.slug))
        .having(total > 0)
        .order_by(total.desc(), col(Collective.slug))
        .limit(first)
        .add_columns(func.rank().over(order_by=total.desc()), col(Collective.id), total)
    )
    rows = (await session.execute(statement)).all()
    return [LeaderboardEntry(rank, row_id, Money(int(amount), CURRENTS)) for rank, row_id, amount in rows]


def _eligible(by: LeaderboardBy) -> list[ColumnElement[bool]]:
    """Return the conditions for collectives on a leaderboard."""
    conditions: list[ColumnElement[bool]] = [col(Collective.archived_at).is_(None)]
    if by == LeaderboardBy.VOLUNTEER:
        conditions += [
            col(Collective.type) == CollectiveType.USER,
            col(Collective.claimed_at).is_not(None),
            col(Collective.merged_into_id).is_(None),
        ]
    return conditions


async def report_liability(session: AsyncSession, actor: Actor) -> LiabilityReport:
    """Report what is owed and outstanding, to the platform's accountants; three statements."""
    require(actor, Action.READ_LIABILITY)
    unpaid = (
        select(func.coalesce(func.sum(col(Redemption.usd_gross_minor)), 0), func.count())
        .select_from(Order)
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(col(Order.type) == OrderType.REDEMPTION, col(Order.status) == OrderStatus.APPROVED)
        .subquery()
    )
    platform_balance = (
        select(func.coalesce(func.sum(col(LedgerAccount.posted) - col(LedgerAccount.held)), 0))
        .where(
            col(LedgerAccount.book_id) == actor.platform_id,
            col(LedgerAccount.owner_id) == actor.platform_id,
            col(LedgerAccount.currency) == DOLLARS,
            col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        )
        .scalar_subquery()
    )
    owed, count, available = (await session.execute(select(unpaid, platform_balance))).one()
    issued = (
        select(col(LedgerAccount.owner_id), -col(LedgerAccount.posted))
        .join(Collective, col(Collective.id) == LedgerAccount.owner_id)
        .where(
            col(LedgerAccount.book_id) == actor.platform_id,
            col(LedgerAccount.currency) == CURRENTS,
            col(LedgerAccount.kind) == LedgerAccountKind.ISSUANCE,
            col(LedgerAccount.posted) != 0,
        )
        .order_by(col(LedgerAccount.posted), col(Collective.slug))
    )
    outstanding = [
        IssuerLiability(owner_id, Money(amount, CURRENTS))
        for owner_id, amount in (await session.execute(issued)).all()
    ]
    return LiabilityReport(
        Money(int(owed), DOLLARS),
        int(count),
        Money(int(available), DOLLARS),
        outstanding,
        await clearing.load_ageing(session),
    )
