"""The currencies in use."""

from sqlalchemy import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Currency


async def every(session: AsyncSession) -> list[Currency]:
    """Return every currency, by code."""
    return list((await session.execute(select(Currency).order_by(Currency.code))).scalars())
