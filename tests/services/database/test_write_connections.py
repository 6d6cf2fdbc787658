"""Connections that mutations keep: used again, given to whoever finds none, and let go when broken."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.database import engine as database_engine
from services.database import write_connections
from services.database.write_connections import LendingPool
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from tests.conftest import Database

ONE = Call(compile_statement(text("SELECT 1")), {})


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = database_engine.create_pool(replace(database.settings, pool_size=2))
    yield engine
    await engine.dispose()


def pool_of(engine: AsyncEngine) -> LendingPool:
    return cast("LendingPool", engine.pool)


def new_session(engine: AsyncEngine) -> AsyncSession:
    return database_engine.session_factory(engine)()


async def test_a_released_connection_is_used_again(engine: AsyncEngine) -> None:
    session = new_session(engine)
    first = await write_connections.acquire(session)
    assert await effects.fetch(session, ONE) == [[(1,)]]
    await effects.commit(session)
    await write_connections.release(session, first)
    assert session.bind is engine
    assert pool_of(engine).checkedout() == 0
    other = new_session(engine)
    assert (await write_connections.acquire(other)) is first
    await write_connections.release(other, first)


async def test_what_the_session_writes_is_of_the_same_transaction(engine: AsyncEngine) -> None:
    session = new_session(engine)
    held = await write_connections.acquire(session)
    await effects.fetch(session, Call(compile_statement(text("SET LOCAL work_mem = '5MB'")), {}))
    assert (await session.execute(text("SHOW work_mem"))).scalar_one() == "5MB"
    await effects.roll_back(session)
    assert held.is_idle
    held = await write_connections.acquire(session, held)
    assert (await session.execute(text("SHOW work_mem"))).scalar_one() != "5MB"
    await effects.commit(session)
    assert held.is_idle
    await write_connections.release(session, held)


async def test_effects_alone_are_rolled_back(engine: AsyncEngine) -> None:
    session = new_session(engine)
    held = await write_connections.acquire(session)
    await effects.fetch(session, ONE)
    assert not held.is_idle
    await effects.roll_back(session)
    assert held.is_idle
    await write_connections.release(session, held)
    assert pool_of(engine).kept == [held]


async def test_whoever_finds_no_connection_gets_a_kept_one(engine: AsyncEngine) -> None:
    sessions = [new_session(engine) for _ in range(2)]
    held = [await write_connections.acquire(session) for session in sessions]
    for session, each in zip(sessions, held, strict=True):
        await write_connections.release(session, each)
    async with asyncio.timeout(5), engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            await connection.execute(text("SELECT 1"))
        assert pool_of(engine).kept == []
        assert pool_of(engine).checkedout() == 2


async def test_a_connection_goes_to_who_waits_for_it(engine: AsyncEngine) -> None:
    session = new_session(engine)
    held = await write_connections.acquire(session)
    async with engine.connect():
        other = new_session(engine)
        waiting = asyncio.ensure_future(other.execute(text("SELECT 1")))
        await asyncio.sleep(0.05)
        await write_connections.release(session, held)
        assert (await asyncio.wait_for(waiting, 5)).scalar_one() == 1
        await other.close()


async def test_a_mutation_that_waits_gets_the_connection_of_another(engine: AsyncEngine) -> None:
    sessions = [new_session(engine) for _ in range(4)]
    held = [await write_connections.acquire(session) for session in sessions[:2]]
    leaving, staying = [asyncio.create_task(write_connections.acquire(session)) for session in sessions[2:]]
    await asyncio.sleep(0.05)
    release = asyncio.create_task(write_connections.release(sessions[0], held[0]))
    await asyncio.sleep(0)
    leaving.cancel()
    await release
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await asyncio.wait_for(staying, 5)) is held[0]
    await write_connections.release(sessions[3], held[0])
    await write_connections.release(sessions[1], held[1])
    assert len(pool_of(engine).kept) == 2
    assert pool_of(engine).checkedout() == 0


async def test_a_mutation_that_waits_gets_a_connection_that_others_return(engine: AsyncEngine) -> None:
    session = new_session(engine)
    async with engine.connect(), engine.connect() as other:
        waiting = asyncio.create_task(write_connections.acquire(session))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await other.close()
        held = await asyncio.wait_for(waiting, 5)
        assert await effects.fetch(session, ONE) == [[(1,)]]
        await effects.roll_back(session)
        await write_connections.release(session, held)


async def test_waiting_for_a_connection_times_out(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LendingPool, "timeout", lambda _: 0.05)
    async with engine.connect(), engine.connect():
        with pytest.raises(PoolTimeout):
            await write_connections.acquire(new_session(engine))
    session = new_session(engine)
    await write_connections.release(session, await write_connections.acquire(session))


async def test_a_broken_connection_discards_the_kept_ones(engine: AsyncEngine, database: Database) -> None:
    first, second = new_session(engine), new_session(engine)
    broken, kept = await write_connections.acquire(first), await write_connections.acquire(second)
    await write_connections.release(second, kept)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(psycopg.OperationalError):
        await broken.driver.execute("SELECT 1")
    await write_connections.release(first, broken)
    assert pool_of(engine).kept == []
    session = new_session(engine)
    held = await write_connections.acquire(session)
    assert held not in (broken, kept)
    assert await effects.fetch(session, ONE) == [[(1,)]]
    await effects.roll_back(session)
    await write_connections.release(session, held)


async def test_a_disposed_engine_keeps_none(engine: AsyncEngine) -> None:
    session = new_session(engine)
    held = await write_connections.acquire(session)
    await write_connections.release(session, held)
    await engine.dispose()
    assert held.driver.closed
    assert pool_of(engine).kept == []
