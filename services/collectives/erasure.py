"""Erasing people: at their own wish, and those who were only named and never came."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Credential, LedgerAccount, Member, Order, now
from models.enums import CollectiveType, MemberRole
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey
from services.access.permissions import Action, require
from services.collectives import archiving
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState

BATCH = 100


async def erase_me(session: AsyncSession, actor: Actor, *, slug: str) -> str:
    """Erase the actor, who enters their slug to confirm it; return the pseudonym.

    Name, addresses, texts, keys and sessions go at once, files soon after. Orders and the ledger stay under
    the pseudonym. Memberships end. Locks: the person, as for archiving: an approval under way is waited for,
    and none can begin.

    Raises:
        Invalid: this is not the actor's slug.
        InvalidState: a balance, hold or open order remains, or the actor is some collective's last ADMIN.
    """
    require(actor, Action.ERASE_ME)
    assert actor.user is not None
    if slug != actor.user.slug:
        raise Invalid("Enter your own slug, to confirm that you are to be erased.", field="slug")
    user_id = actor.user.id
    try:
        await archiving.archive(session, actor, collective=CollectiveKey(slug=actor.user.slug))
    except InvalidState as problem:
        raise InvalidState(problem.message, field=WHOLE_INPUT) from problem
    await session.flush()
    return await _erase(session, user_id)


async def _erase(session: AsyncSession, user_id: UUID) -> str:
    """Erase an archived person; return the pseudonym."""
    pseudonym = f"Erased person {user_id.hex[-4:]}"
    await session.execute(
        text("SELECT erase_person(:id, :name, :slug)"),
        {"id": user_id, "name": pseudonym, "slug": f"erased-{user_id.hex}"},
    )
    return pseudonym


async def erase_unclaimed(session: AsyncSession, *, days: int) -> int:
    """Erase some of those whom others named over `days` ago and who never came; return how many.

    Nobody who signed up, was checked in, or is a side of an order or of the ledger, is erased. Nor is who has
    no address, such as the givers of an imported history. Locks: the people, skipping those in use.
    """
    user_ids = list((await session.execute(_select_forgotten(days))).scalars())
    if not user_ids:
        return 0
    await session.execute(
        update(Collective).where(col(Collective.id).in_(user_ids)).values(archived_at=now())
    )
    for user_id in user_ids:
        await _erase(session, user_id)
    return len(user_ids)


def _select_forgotten(days: int) -> Select[UUID]:
    is_side = (col(Order.from_id) == Collective.id) | (col(Order.to_id) == Collective.id)
    return (
        select(col(Collective.id))
        .where(
            col(Collective.type) == CollectiveType.USER,
            col(Collective.claimed_at).is_(None),
            col(Collective.archived_at).is_(None),
            col(Collective.created_at) < func.now() - timedelta(days=days),
            exists().where(col(Credential.user_id) == Collective.id, col(Credential.verified_at).is_(None)),
            ~exists().where(col(LedgerAccount.owner_id) == Collective.id, col(LedgerAccount.seq) > 0),
            ~exists().where(is_side),
            ~exists().where(col(Order.addressed_to_id) == Collective.id),
            ~exists().where(col(Attendance.user_id) == Collective.id),
            ~exists().where(
                col(Member.member_id) == Collective.id,
                col(Member.role) == MemberRole.ADMIN,
                col(Member.until).is_(None),
            ),
        )
        .order_by(col(Collective.created_at))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
