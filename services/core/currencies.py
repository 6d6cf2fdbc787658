"""The currencies in use."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Currency


async def every(session: AsyncSession) -> list[Currency]:
    """Return every currency, by code."""
    return list((await session.execute(select(Currency).order_by(col(Currency.code)))).scalars())
