"""Queues jobs for the worker in the transaction that asks for them: without its commit there is no job."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import bindparam

QUEUE = "default"
_INSERT = text(
    "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args, scheduled_at)"
    " VALUES (:queue, :name, :arguments, now() + nullif(:delay_seconds, 0) * interval '1 second')"
).bindparams(bindparam("arguments", type_=JSONB), bindparam("delay_seconds", type_=Integer))

_INSERT_ONCE = text(
    "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args)"
    " SELECT :queue, :name, :arguments WHERE NOT EXISTS (SELECT FROM jobs.procrastinate_jobs j"
    " WHERE j.task_name = :name AND j.args = :arguments AND j.status IN ('todo', 'doing'))"
).bindparams(bindparam("name", type_=Text), bindparam("arguments", type_=JSONB))


async def add_job(
    session: AsyncSession, *, name: str, arguments: Mapping[str, Any], delay_seconds: int = 0
) -> None:
    """Queue one job of the task with this name; a worker is told at the commit, or after the delay."""
    values = {"queue": QUEUE, "name": name, "arguments": dict(arguments), "delay_seconds": delay_seconds}
    await session.execute(_INSERT, values)


async def add_job_once(session: AsyncSession, *, name: str, arguments: Mapping[str, Any]) -> None:
    """Queue a job, unless one with the same arguments waits or runs."""
    await session.execute(_INSERT_ONCE, {"queue": QUEUE, "name": name, "arguments": dict(arguments)})
