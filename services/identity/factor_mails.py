"""What every change of a person's factors does: one at a time, and told by mail."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential
from services.messaging import outbox


async def lock_user(session: AsyncSession, user_id: UUID) -> None:
    """Let one request at a time change a user's factors. Locks: the credential."""
    statement = select(col(Credential.user_id)).where(col(Credential.user_id) == user_id)
    await session.execute(statement.with_for_update())


async def report(session: AsyncSession, user: Collective, *, template: str, factor: str) -> None:
    """Tell a person that a factor was added, removed or used up."""
    await outbox.mail_users(
        session, user_ids=[user.id], template=template, payload={"name": user.name, "factor": factor}
    )
