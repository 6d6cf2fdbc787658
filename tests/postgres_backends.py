"""The server's processes behind connections, for tests that watch and end them."""

import asyncio

import psycopg
import pytest

from tests.conftest import Database


async def waiting_backend(database: Database) -> int:
    """Return the process of the application's connection that waits for a lock, once there is one."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for _ in range(200):
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
                [database.name],
            ).fetchone()
            if row:
                pid: int = row[0]
                return pid
            await asyncio.sleep(0.02)
    pytest.fail("no operation waits for a lock")


def terminate(database: Database, pid: int) -> None:
    """End a connection as a crash of its server process would."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
