"""Policies of approval by two people, of a collective, a host or the platform."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import ApprovalPolicy, Collective, now
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.access.viewer_terms import is_collective_of
from services.collectives import collectives
from services.core.errors import Invalid
from services.core.money import UncheckedAmount, require_currency, to_minor_or_zero
from services.core.pagination import Sort

LAXER_AFTER = timedelta(days=1)
MAX_LISTED = 100
NEWEST_FIRST = Sort("POLICIES_NEWEST", col(ApprovalPolicy.created_at), col(ApprovalPolicy.id))


async def set_policy(
    session: AsyncSession, actor: Actor, *, collective: CollectiveKey, amount: UncheckedAmount | None
) -> ApprovalPolicy:
    """Set the amount above which two people approve; None ends the policy.

    A laxer policy takes effect a day later, so that nobody lifts it for one approval. Locks: the collective.

    Raises:
        Invalid: the amount, or a person or an event, which decide no orders of their own.
        InvalidState: the collective is archived.
    """
    row = require_collective(await resolve_one(session, actor, collective, name="collective"))
    require(actor, Action.SET_APPROVAL_POLICY, Subject(collective=row))
    assert actor.id is not None
    require_open(row, field="collective")
    if row.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Choose a community, nonprofit or business.", field="collective")
    currency, amount_minor = row.currency, None
    if amount is not None:
        currency = require_currency(amount.currency, field="amount.currency")
        amount_minor = to_minor_or_zero(amount, field="amount", currency=currency)
    await collectives.lock(session, row.id)
    policy = ApprovalPolicy(
        collective_id=row.id, currency=currency, amount_minor=amount_minor, created_by_id=actor.id
    )
    present = await _load_present(session, row)
    if present is not None and _is_laxer(policy, present):
        policy.valid_from = now() + LAXER_AFTER
    session.add(policy)
    await session.flush()
    return policy


async def _load_present(session: AsyncSession, collective: Collective) -> ApprovalPolicy | None:
    """Load the policy in force: of the rows in force, the one written last."""
    statement = (
        select(ApprovalPolicy)
        .where(col(ApprovalPolicy.collective_id) == collective.id, col(ApprovalPolicy.valid_from) <= now())
        .order_by(col(ApprovalPolicy.created_at).desc(), col(ApprovalPolicy.id).desc())
        .limit(1)
    )
    row: ApprovalPolicy | None = (await session.execute(statement)).scalar_one_or_none()
    return row


def _is_laxer(policy: ApprovalPolicy, present: ApprovalPolicy) -> bool:
    """Return True if a policy may ask for a second person where the present one does, and the new one not."""
    if present.amount_minor is None:
        return False
    return (
        policy.amount_minor is None
        or policy.currency != present.currency
        or policy.amount_minor > present.amount_minor
    )


def select_policies(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[ApprovalPolicy]]:
    """Select the newest policies of a collective; none unless the actor reads its private fields."""
    del where  # has no conditions
    newest = (
        select(ApprovalPolicy)
        .where(
            col(ApprovalPolicy.collective_id) == owner,
            is_collective_of(owner, partial(visibility.private_fields_are_visible, actor)),
        )
        .order_by(NEWEST_FIRST.key.desc(), NEWEST_FIRST.id.desc())
        .limit(MAX_LISTED)
    )
    return (newest,)


async def list_policies(session: AsyncSession, actor: Actor, *, collective_id: UUID) -> list[ApprovalPolicy]:
    """List the policies of a collective, newest first; none unless the actor reads its private fields."""
    (statement,) = select_policies(actor, owner=collective_id)
    return list((await session.execute(statement)).scalars())
