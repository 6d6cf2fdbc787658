"""The mail that tells a person of every change of their factors."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective
from services.messaging import outbox


async def report(session: AsyncSession, user: Collective, *, template: str, factor: str) -> None:
    """Tell a person that a factor was added, removed or used up."""
    await outbox.mail_users(
        session, user_ids=[user.id], template=template, payload={"name": user.name, "factor": factor}
    )
