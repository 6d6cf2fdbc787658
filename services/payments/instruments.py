"""Cards and the like that providers keep for givers."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Instrument, Order, ProviderPayment, new_id
from models.enums import GiverStatus
from services.providers.protocol import KeptInstrument


async def keep(
    session: AsyncSession, order: Order, payment: ProviderPayment, kept: KeptInstrument | None
) -> UUID | None:
    """Store what the giver of an order paid with, once; return its id. What a guest paid with is not kept."""
    if kept is None or (order.claimed_giver_id is not None and order.giver_status != GiverStatus.CONFIRMED):
        return None
    key = (
        col(Instrument.provider_account_id) == payment.provider_account_id,
        col(Instrument.external_id) == kept.external_id,
        col(Instrument.owner_id) == order.from_id,
    )
    await session.execute(
        insert(Instrument)
        .values(
            id=new_id(),
            owner_id=order.from_id,
            provider_account_id=payment.provider_account_id,
            external_id=kept.external_id,
            customer_id=kept.customer_id,
            brand=kept.brand,
            last4=kept.last4,
            expires_on=kept.expires_on,
        )
        .on_conflict_do_nothing()
    )
    found: UUID = (await session.execute(select(col(Instrument.id)).where(*key))).scalar_one()
    return found
