"""Consents to merging two users: of both persons, or of two ADMINs of the platform."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, MergeConsent, now
from models.enums import MemberRole
from services.access.actor import Actor

CONSENT_AGE = timedelta(days=7)
"""How long a consent counts; the database's guard has the same."""
CONSENTS = 2


@dataclass(frozen=True)
class MergeResult:
    """The user that remains, and whether the merge is done or waits for another person's consent."""

    user: Collective
    is_merged: bool


@dataclass(frozen=True)
class Consents:
    """The consents to a merge after one more was recorded."""

    is_enough: bool
    """True if both persons or two platform ADMINs consented lately."""
    is_repeated: bool
    """True if the actor had consented lately already."""


async def record_consent(
    session: AsyncSession, actor: Actor, *, consent_id: UUID, from_id: UUID, into_id: UUID
) -> Consents:
    """Record the actor's consent, and return whether the merge has enough of them.

    An ADMIN who is one of the two counts as a person only.
    """
    assert actor.id is not None
    session.add(MergeConsent(id=consent_id, from_id=from_id, into_id=into_id, by_id=actor.id))
    await session.flush()
    is_admin = exists().where(
        col(Member.member_id) == MergeConsent.by_id,
        col(Member.collective_id) == actor.platform_id,
        col(Member.role) == MemberRole.ADMIN,
        col(Member.until).is_(None),
    )
    statement = select(col(MergeConsent.by_id), is_admin).where(
        col(MergeConsent.from_id) == from_id,
        col(MergeConsent.into_id) == into_id,
        col(MergeConsent.created_at) > now() - CONSENT_AGE,
    )
    consents = (await session.execute(statement)).all()
    persons = {by_id for by_id, _ in consents if by_id in {from_id, into_id}}
    admins = {by_id for by_id, by_admin in consents if by_admin} - persons
    return Consents(
        is_enough=max(len(persons), len(admins)) >= CONSENTS,
        is_repeated=sum(by_id == actor.id for by_id, _ in consents) > 1,
    )


async def load_result(session: AsyncSession, _: Actor, *, consent_id: UUID) -> MergeResult:
    """Load the present result of an earlier call by the consent that it recorded."""
    consent = await session.get_one(MergeConsent, consent_id)
    source = await session.get_one(Collective, consent.from_id)
    target = await session.get_one(Collective, consent.into_id)
    return MergeResult(target, is_merged=source.merged_into_id == target.id)
