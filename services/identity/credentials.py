"""The lock on a person's credential, under which what they sign in with changes one request at a time."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential


async def lock(session: AsyncSession, *, user_id: UUID | None) -> Credential | None:
    """Lock a user's credential and return it as it is by then; None if they have none."""
    statement = select(Credential).where(col(Credential.user_id) == user_id).with_for_update()
    row: Credential | None = (
        await session.execute(statement.execution_options(populate_existing=True))
    ).scalar_one_or_none()
    return row
