"""Queues jobs for the worker in the transaction that asks for them: without its commit there is no job."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import bindparam

QUEUE = "default"
_INSERT = text(
    "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args) VALUES (:queue, :name, :arguments)"
).bindparams(bindparam("arguments", type_=JSONB))


async def add_job(session: AsyncSession, *, name: str, arguments: Mapping[str, Any]) -> None:
    """Queue one job of the task with this name; a worker is told at the commit."""
    await session.execute(_INSERT, {"queue": QUEUE, "name": name, "arguments": dict(arguments)})
