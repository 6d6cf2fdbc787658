"""Claiming: a user becomes a person's own account once the address is proved."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, Member, SlugRedirect, now
from services.core import slugs
from services.identity import free_slugs
from services.messaging import outbox


async def claim_user(
    session: AsyncSession, credential: Credential, *, name: str | None
) -> tuple[Collective, bool]:
    """Mark a locked credential as verified and its user as claimed; True if the user was not. Locks: both."""
    user: Collective = (
        await session.execute(
            select(Collective)
            .where(col(Collective.id) == credential.user_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).scalar_one()
    is_new = user.claimed_at is None
    if is_new:
        await _agree_to_roles(session, user.id)
    if is_new and name is not None:
        await _apply_chosen_name(session, user, name)
    user.claimed_at = user.claimed_at or now()
    user.updated_at = credential.verified_at = now()
    if is_new:
        await outbox.mail_address(
            session, address=credential.email, template="email_confirmed", payload={"name": user.name}
        )
    await session.flush()
    return user, is_new


async def _agree_to_roles(session: AsyncSession, user_id: UUID) -> None:
    """Show a person who signed up in the roles that others had given them."""
    await session.execute(
        update(Member)
        .where(
            col(Member.member_id) == user_id, col(Member.named_by).is_not(None), col(Member.until).is_(None)
        )
        .values(named_by=None)
        .execution_options(synchronize_session=False)
    )


async def _apply_chosen_name(session: AsyncSession, user: Collective, name: str) -> None:
    """Set the chosen name, and a matching slug unless the user has a slug of their own choice."""
    if slugs.is_suggested(user.slug, name=user.name):
        session.add(SlugRedirect(slug=user.slug, collective_id=user.id))
        user.slug = await free_slugs.choose(session, name=name)
    user.name = name
