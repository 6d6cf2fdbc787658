"""Providers that do not answer: what waits goes on waiting, and the host is told once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, ProviderAccount, now
from services.messaging import outbox
from services.providers.protocol import ProviderAway


@asynccontextmanager
async def asking(sessions: async_sessionmaker[AsyncSession], account: ProviderAccount) -> AsyncIterator[None]:
    """Note whether the provider of an account answers in the block."""
    try:
        yield
    except ProviderAway:
        async with sessions.begin() as session:
            await _note_away(session, account.id)
        raise
    if account.away_since is not None:
        async with sessions.begin() as session:
            await _note_back(session, account.id)


async def _note_away(session: AsyncSession, account_id: UUID) -> None:
    noted = await session.execute(
        update(ProviderAccount)
        .where(col(ProviderAccount.id) == account_id, col(ProviderAccount.away_since).is_(None))
        .values(away_since=now())
        .returning(col(ProviderAccount.host_id))
    )
    if (host_id := noted.scalar_one_or_none()) is not None:
        await _tell(session, host_id, template="provider_away")


async def _note_back(session: AsyncSession, account_id: UUID) -> None:
    noted = await session.execute(
        update(ProviderAccount)
        .where(col(ProviderAccount.id) == account_id, col(ProviderAccount.away_since).is_not(None))
        .values(away_since=None)
        .returning(col(ProviderAccount.host_id))
    )
    if (host_id := noted.scalar_one_or_none()) is not None:
        await _tell(session, host_id, template="provider_back")


async def _tell(session: AsyncSession, host_id: UUID, *, template: str) -> None:
    host = await session.get_one(Collective, host_id)
    await outbox.mail_admins(
        session, collective_ids=[host_id], template=template, payload={"host": host.name}
    )
