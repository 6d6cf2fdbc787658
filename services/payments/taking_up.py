"""Work for providers that no job does any longer, because it failed too often: queued again."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.core.sql_files import read_clauses
from services.database.job_queue import QUEUE
from services.orders import provider_refunds
from services.payments import intake
from services.providers.offered import Providers

KEPT_FOR = timedelta(hours=1)
"""How long work waits for the job that was queued with it."""
_AT_ONCE = 100
_SQL = read_clauses(Path(__file__).parent / "sql" / "taking_up.sql")


async def queue_again(sessions: async_sessionmaker[AsyncSession], providers: Providers) -> int:
    """Queue events and refunds of offered providers for which no job waits; return their number."""
    values = {
        "queue": QUEUE,
        "event_job": intake.JOB,
        "refund_job": provider_refunds.SEND_JOB,
        "providers": [name.value for name in providers],
        "kept_for": KEPT_FOR,
        "limit": _AT_ONCE,
    }
    async with sessions.begin() as session:
        return len((await session.execute(_SQL["queue"], values)).all())
