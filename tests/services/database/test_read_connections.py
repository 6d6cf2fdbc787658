"""Connections that are kept for reading: bounded, handed on, and let go when they are broken."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import engine as database_engine
from services.database import read_connections
from tests.conftest import Database


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = database_engine.connect(replace(database.settings, pool_size=4))
    yield engine
    await engine.dispose()


async def test_what_is_given_back_is_taken_again(engine: AsyncEngine) -> None:
    first = await read_connections.take(engine)
    await first.give_back()
    assert (await read_connections.take(engine)) is first
    await first.give_back()


async def test_some_connections_are_left_to_others(engine: AsyncEngine) -> None:
    taken = [await read_connections.take(engine) for _ in range(4 - read_connections.LEFT_TO_OTHERS)]
    waiting = asyncio.create_task(read_connections.take(engine))
    async with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            await connection.execute(text("SELECT 1"))
    assert not waiting.done()
    await taken[0].give_back()
    assert (await waiting) is taken[0]
    for reader in taken:
        await reader.give_back()


async def test_who_leaves_while_waiting_takes_nothing_along(engine: AsyncEngine) -> None:
    taken = [await read_connections.take(engine) for _ in range(2)]
    leaving, staying = [asyncio.create_task(read_connections.take(engine)) for _ in range(2)]
    await asyncio.sleep(0)
    given = asyncio.create_task(taken[0].give_back())
    await asyncio.sleep(0)
    leaving.cancel()
    await given
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await asyncio.wait_for(staying, 5)) is taken[0]
    for reader in taken:
        await reader.give_back()


async def test_a_wait_ends(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_connections, "WAIT_SECONDS", 0.05)
    taken = [await read_connections.take(engine) for _ in range(2)]
    with pytest.raises(PoolTimeout):
        await read_connections.take(engine)
    for reader in taken:
        await reader.give_back()
    again = await read_connections.take(engine)
    assert again in taken
    await again.give_back()


async def test_a_broken_connection_takes_the_others_with_it(engine: AsyncEngine, database: Database) -> None:
    first, second = [await read_connections.take(engine) for _ in range(2)]
    await second.give_back()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(psycopg.OperationalError):
        await first.driver.execute("SELECT 1")
    await first.give_back()
    again = [await read_connections.take(engine) for _ in range(2)]
    assert not {first, second} & set(again)
    for reader in again:
        await reader.driver.execute("SELECT 1")
        await reader.give_back()


async def test_what_is_in_a_transaction_is_nobody_elses(engine: AsyncEngine) -> None:
    reader = await read_connections.take(engine)
    await reader.driver.execute("BEGIN")
    await reader.give_back()
    assert read_connections.at_hand(engine) == 0
    other = await read_connections.take(engine)
    assert other.is_idle
    await other.give_back()


async def test_who_writes_is_not_kept_waiting_by_what_is_kept(engine: AsyncEngine) -> None:
    session = database_engine.sessions(engine)()
    taken = [await read_connections.take(engine) for _ in range(2)]
    for reader in taken:
        await reader.give_back()
    async with engine.connect(), engine.connect():
        await read_connections.make_room(session)
        assert read_connections.at_hand(engine) == 1
        async with asyncio.timeout(5), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await read_connections.make_room(session)
            assert read_connections.at_hand(engine) == 0
    again = await read_connections.take(engine)
    await again.give_back()
    await read_connections.make_room(session)
    assert read_connections.at_hand(engine) == 1, "there was room"


async def test_a_small_pool_keeps_nothing(database: Database) -> None:
    engine = database_engine.connect(replace(database.settings, pool_size=1))
    for _ in range(3):
        reader = await read_connections.take(engine)
        await reader.give_back()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    await engine.dispose()


async def test_an_engine_that_is_disposed_of_leaves_no_connection(
    engine: AsyncEngine, database: Database
) -> None:
    taken = [await read_connections.take(engine) for _ in range(2)]
    for reader in taken:
        await reader.give_back()
    await engine.dispose()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        left = None
        for _ in range(100):
            left = owner.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
            if left == (0,):
                break
            await asyncio.sleep(0.02)
        assert left == (0,)
    reader = await read_connections.take(engine)
    await reader.driver.execute("SELECT 1")
    await reader.give_back()
