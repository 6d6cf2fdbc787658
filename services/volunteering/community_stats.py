"""Community statistics: currents issued and accepted, and leaderboards."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Interval,
    Select,
    Text,
    cast,
    distinct,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Transaction
from models.enums import CollectiveType, TransactionKind
from services.access.actor import ANONYMOUS, Actor
from services.core.errors import Invalid
from services.core.pagination import Sort

DEFAULT_PLACES, MAX_PLACES = 10, 100


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
    issued_minor: int
    accepted_minor: int
    active_volunteers: int


@dataclass(frozen=True)
class LeaderboardEntry:
    """An entry of a leaderboard; equal amounts have equal ranks."""

    rank: int
    collective_id: UUID
    amount_minor: int


@dataclass(frozen=True)
class StatsPeriod:
    """What statistics are limited to."""

    period: Period


@dataclass(frozen=True)
class Board:
    """A leaderboard, and the number of its entries to list."""

    by: LeaderboardBy
    period: Period
    first: int

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            Invalid: it is not 1 to 100.
        """
        if not 1 <= self.first <= MAX_PLACES:
            raise Invalid(f"Choose 1 to {MAX_PLACES} entries.", field="first")


def _select_moves(period: Period, *kinds: TransactionKind) -> Any:
    """Select what transactions of some kinds moved in a period.

    A refund counts with the kind and sides of its original and its own amount, which is negative. The refunds
    are a part of their own, so that an index finds the rows of both parts: gifts are many, and not read.
    """
    row, original = aliased(Transaction), aliased(Transaction)

    def select_sides(table: Any) -> Any:
        sides = (table.kind, table.from_collective_id, table.to_collective_id)
        found = select(*sides, col(row.amount), col(row.refund_of_id)).select_from(row)
        if period not in _DAYS:
            return found
        length: Any = literal_column(f"interval '{24 * _DAYS[period]} hours'", Interval)
        return found.where(col(row.at) > func.now() - length)

    refunds = select_sides(original).join(original, col(row.refund_of_id) == col(original.id))
    return union_all(
        select_sides(row).where(col(row.kind).in_(kinds)),
        refunds.where(col(row.kind) == TransactionKind.REFUND, col(original.kind).in_(kinds)),
    ).subquery("moves")


def select_stats(actor: Actor, *, where: StatsPeriod, owner: object = None) -> tuple[Select[Any]]:
    """Select the community's statistics: always one row. Public, because they name nobody."""
    del actor, owner  # everybody sees the same
    moves = _select_moves(where.period, TransactionKind.HOURS, TransactionKind.REDEMPTION)
    is_hours = moves.c.kind == TransactionKind.HOURS

    def total(condition: Any) -> Any:
        return cast(func.coalesce(func.sum(moves.c.amount).filter(condition), 0), BigInteger)

    earners = func.count(distinct(moves.c.to_collective_id))
    figures: Select[Any] = select(
        literal(where.period.value, Text).label("period"),
        total(is_hours).label("issued_minor"),
        total(~is_hours).label("accepted_minor"),
        earners.filter(is_hours, moves.c.refund_of_id.is_(None)).label("active_volunteers"),
    )
    return (figures,)


async def load_stats(session: AsyncSession, *, period: Period) -> CommunityStats:
    """Load the community's statistics; one statement."""
    (statement,) = select_stats(ANONYMOUS, where=StatsPeriod(period))
    row = (await session.execute(statement)).one()
    return CommunityStats(Period(row.period), row.issued_minor, row.accepted_minor, row.active_volunteers)


_PLACE: Any = literal_column("place", Integer)
BEST_RANK = Sort("BEST_RANK", _PLACE, _PLACE, descending=False)


def select_leaders(actor: Actor, *, where: Board, owner: object = None) -> tuple[Select[Any]]:
    """Select the entries of a leaderboard, equal amounts by slug. Public.

    Unclaimed, archived and merged users are left out, as are archived organizations.
    """
    del actor, owner  # everybody sees the same
    is_business = where.by == LeaderboardBy.BUSINESS
    moves = _select_moves(where.period, TransactionKind.REDEMPTION if is_business else TransactionKind.HOURS)
    is_giver = where.by == LeaderboardBy.NONPROFIT
    party = moves.c.from_collective_id if is_giver else moves.c.to_collective_id
    total = func.sum(moves.c.amount)
    order = (total.desc(), col(Collective.slug))
    leaders = (
        select(
            func.rank().over(order_by=total.desc()).label("rank"),
            col(Collective.id).label("collective_id"),
            cast(total, BigInteger).label("amount_minor"),
            func.row_number().over(order_by=order).label("place"),
        )
        .join_from(moves, Collective, col(Collective.id) == party)
        .where(*_eligible(where.by))
        .group_by(col(Collective.id), col(Collective.slug))
        .having(total > 0)
        .order_by(*order)
        .limit(literal_column(str(where.first)))
        .subquery("leaders")
    )
    return (select(leaders),)


async def list_leaders(
    session: AsyncSession, *, by: LeaderboardBy, period: Period, first: int
) -> list[LeaderboardEntry]:
    """List the `first` entries of a leaderboard; one statement.

    Raises:
        Invalid: `first` is not 1 to 100.
    """
    (statement,) = select_leaders(ANONYMOUS, where=Board(by, period, first))
    rows = await session.execute(statement.order_by(BEST_RANK.key))
    return [LeaderboardEntry(row.rank, row.collective_id, row.amount_minor) for row in rows]


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
