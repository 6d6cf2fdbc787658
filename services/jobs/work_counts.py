"""How much work waits, for how long, and whether a worker is there to do it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

LANES = ("account", "other")
"""Names of the lanes of mails, by number."""
STATUSES = ("queued", "running", "failed")
_COUNT = text("""
    SELECT
        (SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND failed_at IS NULL) AS mails,
        (SELECT extract(epoch FROM now() - min(created_at)) FROM outbox
         WHERE lane = 0 AND delivered_at IS NULL AND failed_at IS NULL) AS account,
        (SELECT extract(epoch FROM now() - min(created_at)) FROM outbox
         WHERE lane = 1 AND delivered_at IS NULL AND failed_at IS NULL) AS other,
        (SELECT count(*) FROM jobs.procrastinate_jobs WHERE status = 'todo') AS queued,
        (SELECT count(*) FROM jobs.procrastinate_jobs WHERE status = 'doing') AS running,
        (SELECT count(*) FROM jobs.procrastinate_jobs WHERE status = 'failed') AS failed,
        (SELECT extract(epoch FROM now() - min(coalesce(j.scheduled_at, e.at)))
         FROM jobs.procrastinate_jobs j
         CROSS JOIN LATERAL (SELECT min(at) AS at FROM jobs.procrastinate_events WHERE job_id = j.id) e
         WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())) AS due,
        (SELECT count(*) FROM jobs.procrastinate_workers
         WHERE last_heartbeat > now() - interval '30 seconds') AS workers,
        (SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM jobs.procrastinate_workers) AS heartbeat
""")


@dataclass(frozen=True, kw_only=True)
class WorkCounts:
    """Figures of the outbox, the jobs and the workers; not a number where none is known."""

    mails_waiting: float = math.nan
    mails_age_seconds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LANES, math.nan))
    jobs: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(STATUSES, math.nan))
    jobs_age_seconds: float = math.nan
    workers: float = math.nan
    heartbeat_age_seconds: float = math.nan
    """Infinite if there is no worker."""


UNKNOWN = WorkCounts()


async def load(session: AsyncSession) -> WorkCounts:
    """Load the figures, in one statement. Ages are 0 if nothing waits."""
    row = (await session.execute(_COUNT)).one()
    return WorkCounts(
        mails_waiting=row.mails,
        mails_age_seconds={lane: float(getattr(row, lane) or 0) for lane in LANES},
        jobs={status: getattr(row, status) for status in STATUSES},
        jobs_age_seconds=float(row.due or 0),
        workers=row.workers,
        heartbeat_age_seconds=math.inf if row.heartbeat is None else float(row.heartbeat),
    )
