"""Supported currencies."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Currency


async def list_currencies(session: AsyncSession) -> list[Currency]:
    """List every currency. Order: code."""
    return list((await session.execute(select(Currency).order_by(col(Currency.code)))).scalars())
