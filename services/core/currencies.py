"""Supported currencies."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Currency
from services.core.pagination import Sort

BY_CODE = Sort("CURRENCIES_BY_CODE", col(Currency.code), col(Currency.code), descending=False)


def select_currencies(actor: object, *, where: object = None, owner: Any = None) -> tuple[Select[Currency]]:
    """Select every currency."""
    del actor, where, owner  # everybody sees all of them
    return (select(Currency),)


async def list_currencies(session: AsyncSession) -> list[Currency]:
    """List every currency. Order: code."""
    (statement,) = select_currencies(None)
    return list((await session.execute(statement.order_by(BY_CODE.key))).scalars())
