"""Texts that PostgreSQL puts together as we do."""

from sqlalchemy import BigInteger, Text, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.iso4217 import CURRENCIES
from services.money import Money
from services.sql_text import value_of


async def test_amounts_have_the_places_of_their_currency(sessions: async_sessionmaker[AsyncSession]) -> None:
    value = value_of(bindparam("minor", type_=BigInteger), bindparam("currency", type_=Text))
    async with sessions() as session:
        for currency in CURRENCIES:
            for minor in (0, 5, -5, 99, 1234, -100000, 2**62, -(2**63)):
                found = await session.execute(select(value), {"minor": minor, "currency": currency})
                assert found.scalar_one() == Money(minor, currency).text
