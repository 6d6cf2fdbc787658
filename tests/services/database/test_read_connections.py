"""Connections that are kept for reading: bounded, handed on, and let go when they are broken."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest
from psycopg import AsyncRawCursor
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import engine as database_engine
from services.database import fetch, read_connections
from tests.conftest import Database


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = database_engine.create_pool(replace(database.settings, pool_size=4))
    yield engine
    await engine.dispose()


async def test_a_released_connection_is_reused(engine: AsyncEngine) -> None:
    first = await read_connections.acquire(engine)
    await first.release()
    assert (await read_connections.acquire(engine)) is first
    await first.release()


async def test_some_connections_are_left_for_writers(engine: AsyncEngine) -> None:
    taken = [await read_connections.acquire(engine) for _ in range(4 - read_connections.RESERVED_CONNECTIONS)]
    waiting = asyncio.create_task(read_connections.acquire(engine))
    async with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            await connection.execute(text("SELECT 1"))
    assert not waiting.done()
    await taken[0].release()
    assert (await waiting) is taken[0]
    for reader in taken:
        await reader.release()


async def test_a_cancelled_waiter_takes_no_connection(engine: AsyncEngine) -> None:
    taken = [await read_connections.acquire(engine) for _ in range(2)]
    leaving, staying = [asyncio.create_task(read_connections.acquire(engine)) for _ in range(2)]
    await asyncio.sleep(0)
    arguments = asyncio.create_task(taken[0].release())
    await asyncio.sleep(0)
    leaving.cancel()
    await arguments
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await asyncio.wait_for(staying, 5)) is taken[0]
    for reader in taken:
        await reader.release()


async def test_waiting_for_a_connection_times_out(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_connections, "WAIT_SECONDS", 0.05)
    taken = [await read_connections.acquire(engine) for _ in range(2)]
    with pytest.raises(PoolTimeout):
        await read_connections.acquire(engine)
    for reader in taken:
        await reader.release()
    again = await read_connections.acquire(engine)
    assert again in taken
    await again.release()


async def test_a_broken_connection_discards_the_idle_ones(engine: AsyncEngine, database: Database) -> None:
    first, second = [await read_connections.acquire(engine) for _ in range(2)]
    await second.release()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(psycopg.OperationalError):
        await first.driver.execute("SELECT 1")
    await first.release()
    again = [await read_connections.acquire(engine) for _ in range(2)]
    assert not {first, second} & set(again)
    for reader in again:
        await reader.driver.execute("SELECT 1")
        await reader.release()


async def test_a_connection_in_a_transaction_is_not_shared(engine: AsyncEngine) -> None:
    reader = await read_connections.acquire(engine)
    await reader.driver.execute("BEGIN")
    await reader.release()
    assert read_connections.idle_count(engine) == 0
    other = await read_connections.acquire(engine)
    assert other.is_idle
    await other.release()


async def test_idle_read_connections_do_not_block_writers(engine: AsyncEngine) -> None:
    session = database_engine.session_factory(engine)()
    taken = [await read_connections.acquire(engine) for _ in range(2)]
    for reader in taken:
        await reader.release()
    async with engine.connect(), engine.connect():
        await read_connections.release_idle(session)
        assert read_connections.idle_count(engine) == 1
        async with asyncio.timeout(5), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await read_connections.release_idle(session)
            assert read_connections.idle_count(engine) == 0
    again = await read_connections.acquire(engine)
    await again.release()
    await read_connections.release_idle(session)
    assert read_connections.idle_count(engine) == 1, "there was room"


async def test_a_small_pool_keeps_no_idle_connections(database: Database) -> None:
    engine = database_engine.create_pool(replace(database.settings, pool_size=1))
    for _ in range(3):
        reader = await read_connections.acquire(engine)
        await reader.release()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    await engine.dispose()


async def test_a_disposed_engine_leaves_no_connection(engine: AsyncEngine, database: Database) -> None:
    taken = [await read_connections.acquire(engine) for _ in range(2)]
    for reader in taken:
        await reader.release()
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
    reader = await read_connections.acquire(engine)
    await reader.driver.execute("SELECT 1")
    await reader.release()


async def test_only_what_runs_alone_is_planned_once(engine: AsyncEngine) -> None:
    async def mode(*, is_single: bool) -> str:
        session = database_engine.session_factory(engine)()
        reader = await fetch.begin_read(session, is_single=is_single)
        (row,) = await (await reader.driver.execute("SHOW plan_cache_mode")).fetchall()
        await fetch.end_read(reader)
        return str(row[0])

    modes = [await mode(is_single=is_single) for is_single in (True, True, False, True)]
    assert modes == ["force_generic_plan", "force_generic_plan", "auto", "force_generic_plan"]
    session = database_engine.session_factory(engine)()
    async with engine.connect(), engine.connect(), engine.connect():
        await read_connections.release_idle(session)
        async with engine.connect() as reused:
            assert (await reused.execute(text("SHOW plan_cache_mode"))).scalar_one() == "auto"


async def test_a_cancelled_operation_leaves_no_way_of_planning(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = AsyncRawCursor.execute

    async def cancel_after(self: AsyncRawCursor[Any], *arguments: Any) -> Any:
        await execute(self, *arguments)
        raise asyncio.CancelledError

    session = database_engine.session_factory(engine)()
    monkeypatch.setattr(AsyncRawCursor, "execute", cancel_after)
    with pytest.raises(asyncio.CancelledError):
        await fetch.begin_read(session, is_single=True)
    monkeypatch.undo()
    assert read_connections.idle_count(engine) == 1
    session = database_engine.session_factory(engine)()
    reader = await fetch.begin_read(session, is_single=False)
    (row,) = await (await reader.driver.execute("SHOW plan_cache_mode")).fetchall()
    await fetch.end_read(reader)
    assert row == ("auto",)


async def test_closing_that_is_cancelled_leaves_no_connection(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await fetch.begin_read(database_engine.session_factory(engine)(), is_single=True)
    await fetch.end_read(reader)

    async def cancel(*_: Any) -> Any:
        raise asyncio.CancelledError

    async with engine.connect(), engine.connect(), engine.connect():
        monkeypatch.setattr(AsyncRawCursor, "execute", cancel)
        with pytest.raises(asyncio.CancelledError):
            await read_connections.release_idle(database_engine.session_factory(engine)())
        monkeypatch.undo()
        assert reader.driver.closed
        assert cast("Any", engine.pool).checkedout() == 3
