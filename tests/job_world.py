"""Jobs in the queue as tests need them: waiting, running by a worker that is gone, failed."""

from datetime import timedelta
from typing import Any, TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

Sessions: TypeAlias = async_sessionmaker[AsyncSession]


async def execute(sessions: Sessions, statement: str, **parameters: Any) -> list[Any]:
    """Execute a statement with the application's rights, and return its rows."""
    async with sessions.begin() as session:
        result: Any = await session.execute(text(statement), parameters)
        return list(result.all()) if result.returns_rows else []


async def add_job(sessions: Sessions, name: str = "expire_orders", *, lock: str | None = None) -> int:
    """Queue a job and return its number."""
    rows = await execute(
        sessions,
        "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, lock, queueing_lock)"
        " VALUES ('default', :name, :lock, :lock) RETURNING id",
        name=name,
        lock=lock,
    )
    return int(rows[0].id)


async def change_status(sessions: Sessions, job_id: int, *statuses: str) -> None:
    """Take a job through states of the library."""
    for status in statuses:
        await execute(
            sessions,
            "UPDATE jobs.procrastinate_jobs SET status = CAST(:status AS jobs.procrastinate_job_status)"
            " WHERE id = :id",
            status=status,
            id=job_id,
        )


async def add_failed_job(sessions: Sessions, name: str = "make_export", *, lock: str | None = None) -> int:
    """Add a job that failed, and why, and return its number."""
    job_id = await add_job(sessions, name, lock=lock)
    await change_status(sessions, job_id, "doing", "failed")
    await execute(
        sessions,
        "INSERT INTO jobs.failure (job_id, error) VALUES (:id, 'OSError: no space left')",
        id=job_id,
    )
    return job_id


async def make_older(sessions: Sessions, job_id: int, *, days: float) -> None:
    """Move everything that happened to a job into the past."""
    await execute(
        sessions,
        "UPDATE jobs.procrastinate_events SET at = at - CAST(:age AS interval) WHERE job_id = :id",
        age=timedelta(days=days),
        id=job_id,
    )


async def load_statuses(sessions: Sessions) -> dict[int, str]:
    """Return the library's status of each job."""
    rows = await execute(sessions, "SELECT id, status::text FROM jobs.procrastinate_jobs ORDER BY id")
    return {row.id: row.status for row in rows}
