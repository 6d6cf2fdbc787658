"""Takes in what providers tell: proved, stored once, and left to a job."""

from collections.abc import Mapping

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import ProviderEvent, new_id
from services.database.job_queue import add_job
from services.providers.protocol import PaymentProvider

JOB = "process_provider_event"
"""The name of the job that does what an event says."""
MAX_BYTES = 128 * 1024


async def receive(
    session: AsyncSession,
    provider: PaymentProvider,
    *,
    headers: Mapping[str, str],
    body: bytes,
    delay_seconds: int = 0,
) -> bool:
    """Store an event and queue its processing; False if it was here before. Each event is stored once.

    Raises:
        Forged: it is not the provider's, or too old; nothing is stored.
    """
    event = provider.parse(headers, body)
    stored = await session.execute(
        insert(ProviderEvent)
        .values(
            id=new_id(),
            provider=provider.name,
            external_id=event.external_id,
            type=event.type,
            body=dict(event.body),
        )
        .on_conflict_do_nothing(index_elements=["provider", "external_id"])
        .returning(col(ProviderEvent.id))
    )
    event_id = stored.scalar_one_or_none()
    if event_id is None:
        return False
    await add_job(session, name=JOB, arguments={"event_id": str(event_id)}, delay_seconds=delay_seconds)
    return True
