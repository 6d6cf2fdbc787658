"""Backends of the test's database that die at random."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from tests.conftest import Database


@asynccontextmanager
async def dying_backends(database: Database, chance: random.Random) -> AsyncIterator[list[int]]:
    """Terminate a backend of the application every few seconds; yield the list of their pids."""
    ended: list[int] = []
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND application_name NOT LIKE 'history%%'"
        " ORDER BY state <> 'idle' DESC, pid"
    )
    url = (
        f"{database.owner_url}&application_name=history" if "?" in database.owner_url else database.owner_url
    )

    async def end_some() -> None:
        while True:
            await asyncio.sleep(chance.uniform(1.0, 3.0))
            pids = [pid for (pid,) in connection.execute(sql, [database.name])]
            for pid in chance.sample(pids[:6], min(2, len(pids))):
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                ended.append(pid)

    with psycopg.connect(url, autocommit=True) as connection:
        task = asyncio.create_task(end_some())
        try:
            yield ended
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
