"""Collectives and hosts that require a second factor of their ADMINs."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, FactorRequirement, Member
from models.enums import CollectiveType, MemberRole, Proof
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState


async def set_required(
    session: AsyncSession, actor: Actor, *, collective: CollectiveKey, is_required: bool
) -> Collective:
    """Require a second factor of a collective's ADMINs, in its events too, or no longer. No change if so set.

    From then on, its ADMINs without one read as ACCOUNTANTs do, and cannot act.

    Raises:
        Invalid: the collective is a user or an event.
        InvalidState: the actor has no second factor, and would be shut out; or the collective is archived.
        ConfirmationRequired: the session was not confirmed lately.
    """
    row = require_collective(await resolve_one(session, actor, collective, name="collective"))
    require(actor, Action.REQUIRE_SECOND_FACTOR, Subject(collective=row))
    assert actor.user is not None
    require_open(row, field="collective")
    if row.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Choose a collective or host; an event follows who runs it.", field="collective")
    if not is_required:
        await session.execute(delete(FactorRequirement).where(col(FactorRequirement.collective_id) == row.id))
        return row
    if actor.ways == (Proof.PASSWORD,):
        raise InvalidState("Add a second factor to your own account first.", field=WHOLE_INPUT)
    await session.execute(
        insert(FactorRequirement)
        .values(collective_id=row.id, created_by_id=actor.user.id)
        .on_conflict_do_nothing()
    )
    return row


async def list_requiring(session: AsyncSession, actor: Actor) -> list[UUID]:
    """List the collectives that require a second factor of the user as their ADMIN."""
    statement = (
        select(col(FactorRequirement.collective_id))
        .join(Member, col(Member.collective_id) == col(FactorRequirement.collective_id))
        .where(
            col(Member.member_id) == actor.id,
            col(Member.role) == MemberRole.ADMIN,
            col(Member.until).is_(None),
        )
        .order_by(col(FactorRequirement.collective_id))
    )
    return list((await session.execute(statement)).scalars())
