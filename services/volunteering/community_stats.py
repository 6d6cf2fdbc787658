"""What the whole community does: currents issued and accepted, who leads, and what the platform owes."""

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
from services.ledger.transaction_amounts import CURRENTS

DOLLARS = "USD"
MOST = 100


class Period(StrEnum):
    """How far back a figure looks, by ledger time."""

    ALL_TIME = "ALL_TIME"
    """From the beginning."""
    YEAR = "YEAR"
    """The last 365 days."""
    MONTH = "MONTH"
    """The last 30 days."""
    WEEK = "WEEK"
    """The last 7 days."""


class LeaderboardBy(StrEnum):
    """Who is ranked, and by what."""

    NONPROFIT = "NONPROFIT"
    """Nonprofits by the currents they issued for hours."""
    BUSINESS = "BUSINESS"
    """Businesses by the currents they accepted."""
    VOLUNTEER = "VOLUNTEER"
    """People by the currents they earned by hours."""


_DAYS = {Period.YEAR: 365, Period.MONTH: 30, Period.WEEK: 7}


@dataclass(frozen=True)
class CommunityStats:
    """The community's figures of a period; currents less what was refunded in it."""

    period: Period
    issued: Money
    accepted: Money
    active_volunteers: int


@dataclass(frozen=True)
class LeaderboardEntry:
    """A place on a leaderboard; equal amounts have equal ranks."""

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
    """What the platform owes in dollars and has for it, and the currents that are out."""

    owed: Money
    owed_count: int
    available: Money
    outstanding: list[IssuerLiability]

    @property
    def outstanding_total(self) -> Money:
        """All currents that are out."""
        return Money(sum(line.amount.minor_units for line in self.outstanding), CURRENTS)


def _moved(period: Period) -> tuple[Select[Any], Any, Any]:
    """Return a selection from transactions of the period, each with what it refunds, and both tables.

    A refund counts for the original's kind and sides, with its own amount, which is below zero.
    """
    row, original = aliased(Transaction), aliased(Transaction)
    statement = select().select_from(row).outerjoin(original, row.refund_of_id == original.id)  # type: ignore[arg-type]  # SQLModel
    if period in _DAYS:
        statement = statement.where(row.at > now() - timedelta(days=_DAYS[period]))  # type: ignore[arg-type]  # SQLModel
    return statement, row, original


async def stats(session: AsyncSession, *, period: Period) -> CommunityStats:
    """Return the community's figures; one statement. For everybody: it names nobody."""
    statement, row, original = _moved(period)
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


async def leaderboard(
    session: AsyncSession, *, by: LeaderboardBy, period: Period, first: int
) -> list[LeaderboardEntry]:
    """Return the `first` places; equal amounts in the order of slugs. One statement, for everybody.

    Users known by email alone, and who is archived or was merged, have no place.

    Raises:
        Invalid: `first` is not 1 to 100.
    """
    if not 1 <= first <= MOST:
        raise Invalid(f"A leaderboard has 1 to {MOST} places", path=["first"])
    statement, row, original = _moved(period)
    kind = TransactionKind.REDEMPTION if by == LeaderboardBy.BUSINESS else TransactionKind.HOURS
    side = "from_collective_id" if by == LeaderboardBy.NONPROFIT else "to_collective_id"
    party = func.coalesce(getattr(original, side), getattr(row, side))
    total = func.sum(row.amount)
    statement = (
        statement.join(Collective, col(Collective.id) == party)
        .where(func.coalesce(original.kind, row.kind) == kind, *_ranked(by))
        .group_by(col(Collective.id), col(Collective.slug))
        .having(total > 0)
        .order_by(total.desc(), col(Collective.slug))
        .limit(first)
        .add_columns(func.rank().over(order_by=total.desc()), col(Collective.id), total)
    )
    rows = (await session.execute(statement)).all()
    return [LeaderboardEntry(rank, row_id, Money(int(amount), CURRENTS)) for rank, row_id, amount in rows]


def _ranked(by: LeaderboardBy) -> list[ColumnElement[bool]]:
    """Who may stand on a leaderboard."""
    found: list[ColumnElement[bool]] = [col(Collective.archived_at).is_(None)]
    if by == LeaderboardBy.VOLUNTEER:
        found += [
            col(Collective.type) == CollectiveType.USER,
            col(Collective.claimed_at).is_not(None),
            col(Collective.merged_into_id).is_(None),
        ]
    return found


async def liability(session: AsyncSession, actor: Actor) -> LiabilityReport:
    """Return what is owed and outstanding; two statements. For the platform's ADMINs and ACCOUNTANTs."""
    require(actor, Action.READ_LIABILITY)
    unpaid = (
        select(func.coalesce(func.sum(col(Redemption.usd_gross_minor)), 0), func.count())
        .select_from(Order)
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(col(Order.type) == OrderType.REDEMPTION, col(Order.status) == OrderStatus.APPROVED)
        .subquery()
    )
    has = (
        select(func.coalesce(func.sum(col(LedgerAccount.posted) - col(LedgerAccount.held)), 0))
        .where(
            col(LedgerAccount.book_id) == actor.platform_id,
            col(LedgerAccount.owner_id) == actor.platform_id,
            col(LedgerAccount.currency) == DOLLARS,
            col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        )
        .scalar_subquery()
    )
    owed, count, available = (await session.execute(select(unpaid, has))).one()
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
    return LiabilityReport(Money(int(owed), DOLLARS), int(count), Money(int(available), DOLLARS), outstanding)
