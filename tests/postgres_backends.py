"""PostgreSQL backends, for tests that watch and terminate them."""

import asyncio

import psycopg
import pytest

from tests.conftest import Database


async def waiting_backend(database: Database) -> int:
    """Wait for a backend of the application that waits for a lock; return its pid."""
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
    """Terminate a backend, as a crash would."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
