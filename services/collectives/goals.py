"""Goals: what a collective wants to hold or to raise."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Numeric, Select, Text, case, func, literal, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Goal, LedgerAccount, RaisedTotal, now
from models.enums import CollectiveType, GoalKind, LedgerAccountKind
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid
from services.core.money import UncheckedAmount, to_minor
from services.core.pagination import Sort
from services.database import fetch


async def set_goal(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: CollectiveKey,
    kind: GoalKind,
    amount: UncheckedAmount | None,
) -> Collective:
    """Set the collective's goal of a kind, in its currency, or end it without an amount.

    Locks: the collective, so that one of several callers sets the goal after the other.

    Raises:
        Invalid: a person or an event, or the amount.
        InvalidState: the collective is archived.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.SET_GOAL, Subject(collective=row))
    assert actor.user is not None
    if row.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Choose a community, nonprofit or business.", field="collective")
    await session.refresh(row, with_for_update={"key_share": True})
    require_open(row, field="collective")
    minor = None if amount is None else to_minor(amount, field="amount", currency=row.currency)
    await session.execute(
        update(Goal)
        .where(col(Goal.collective_id) == row.id, col(Goal.kind) == kind, col(Goal.ended_at).is_(None))
        .values(ended_at=now())
        .execution_options(synchronize_session=False)
    )
    if minor is not None:
        goal = Goal(
            collective_id=row.id,
            kind=kind,
            currency=row.currency,
            amount_minor=minor,
            created_by_id=actor.user.id,
        )
        session.add(goal)
        await session.flush()
    return row


BY_KIND = Sort("GOALS_BY_KIND", col(Goal.kind), col(Goal.id), descending=False)


def select_goals(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Goal]]:
    """Select the goals of a visible collective, by kind."""
    del actor, where  # everybody sees them, and they have no conditions
    return (select(Goal).where(col(Goal.collective_id) == owner, col(Goal.ended_at).is_(None)),)


async def list_goals(session: AsyncSession, *, collective_ids: Sequence[UUID]) -> dict[UUID, list[Goal]]:
    """List the goals of visible collectives, by kind; one statement."""
    return await fetch.fetch_lists(
        session, ANONYMOUS, select_of=select_goals, sort=BY_KIND, by="collective_id", owner_ids=collective_ids
    )


def select_reached(goal: Any) -> Select[Any]:
    """Select how much of a goal, whose columns are given, is there, with its currency."""
    reached = case((goal.kind == literal(GoalKind.BALANCE, Text), _held(goal)), else_=_raised(goal))
    return select(sql_cast(reached, Numeric).label("minor"), goal.currency.label("currency"))


def _held(goal: Any) -> Any:
    """Build the sum that the collective of a goal has."""
    return (
        select(func.coalesce(func.sum(col(LedgerAccount.posted)), 0))
        .where(
            col(LedgerAccount.owner_id) == goal.collective_id,
            col(LedgerAccount.currency) == goal.currency,
            col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        )
        .correlate(Goal)
        .scalar_subquery()
    )


def _raised(goal: Any) -> Any:
    """Build the sum that the collective of a goal was given."""
    return (
        select(func.coalesce(func.sum(col(RaisedTotal.raised_minor)), 0))
        .where(col(RaisedTotal.subject_id) == goal.collective_id, col(RaisedTotal.currency) == goal.currency)
        .correlate(Goal)
        .scalar_subquery()
    )


async def load_reached(session: AsyncSession, *, goals: Sequence[Goal]) -> dict[UUID, int]:
    """Load how much of each goal is there, by its id. Units: minor, of the goal's currency."""
    reached: dict[UUID, int] = {}
    for kind, total in ((GoalKind.BALANCE, _held(Goal)), (GoalKind.RAISED, _raised(Goal))):
        ids = [goal.id for goal in goals if goal.kind == kind]
        if ids:
            rows = await session.execute(select(col(Goal.id), total).where(col(Goal.id).in_(ids)))
            reached |= {goal_id: int(value) for goal_id, value in rows}
    return reached
