"""Writes that wait, and travel together with what is read next or with COMMIT."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.core.errors import InvalidState
from services.database.engine import session_factory
from services.round_trips import effects, pipelines
from services.round_trips.pipelines import Call, compile_statement
from tests.factories import World
from tests.statement_counts import record_statements

_THROTTLE = compile_statement(
    text("INSERT INTO throttle (key, attempts, window_ends_at) VALUES (:key, 1, now()) RETURNING key")
)
_COUNT = compile_statement(text("SELECT count(*) FROM throttle WHERE key LIKE :key"))
_SLEEP = compile_statement(text("SELECT pg_sleep(:seconds)"))


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with session_factory(engine)() as session:
        await begin(session)
        yield session


async def begin(session: AsyncSession) -> Any:
    """Give the session a queue, as a mutation's has; return the driver's connection."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    effects.attach(session, connection, driver)
    return driver


async def store_and_end(session: AsyncSession) -> None:
    """Commit as a mutation does, and release the connection."""
    await effects.store(session)
    await session.commit()


async def count(session: AsyncSession, key: str) -> int:
    ((number,),) = (await effects.fetch(session, Call(_COUNT, {"key": key})))[0]
    return int(number)


async def test_writes_are_sent_with_the_next_read(session: AsyncSession, engine: AsyncEngine) -> None:
    with record_statements(engine) as statements:
        await effects.write(session, _THROTTLE, {"key": "a"})
        await effects.write(session, _THROTTLE, {"key": "b"})
        assert statements == []
        assert await count(session, "_") == 2
    assert len(statements) == 3


async def test_a_statement_of_the_session_comes_after_the_writes_that_wait(session: AsyncSession) -> None:
    await effects.write(session, _THROTTLE, {"key": "a"})
    assert (await session.execute(text("SELECT count(*) FROM throttle"))).scalar_one() == 1


async def test_a_commit_stores_what_waits(session: AsyncSession, world: World) -> None:
    await effects.write(session, _THROTTLE, {"key": "a"})
    await store_and_end(session)
    assert await world.scalar("SELECT count(*) FROM throttle") == 1


async def test_statements_stay_prepared_and_never_pile_up(session: AsyncSession) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'cw_%'")
    counts = []
    for number in range(12):
        await effects.write(session, _THROTTLE, {"key": f"k{number}"})
        if number % 3 == 2:
            await effects.flush(session)
            await session.rollback()
        else:
            await store_and_end(session)
        await begin(session)
        counts.append((await session.execute(prepared)).scalar_one())
    assert max(counts) <= counts[0]  # a rollback may drop them, and nothing adds to them


async def test_a_rollback_drops_what_waits(session: AsyncSession, world: World) -> None:
    await effects.write(session, _THROTTLE, {"key": "a"})
    await session.rollback()
    await begin(session)
    await store_and_end(session)
    assert await world.scalar("SELECT count(*) FROM throttle") == 0


async def test_a_savepoint_undoes_what_waited_in_it_alone(session: AsyncSession, world: World) -> None:
    await effects.write(session, _THROTTLE, {"key": "kept"})
    savepoint = await session.begin_nested()
    await effects.write(session, _THROTTLE, {"key": "undone"})
    await savepoint.rollback()
    await store_and_end(session)
    assert await world.scalar("SELECT string_agg(key, ',') FROM throttle") == "kept"


async def test_a_failure_keeps_the_commit_after_it_from_running(session: AsyncSession, world: World) -> None:
    for key in ("a", "b", "a"):
        await effects.write(session, _THROTTLE, {"key": key})
    with pytest.raises(IntegrityError):
        await store_and_end(session)
    await session.rollback()
    assert await world.scalar("SELECT count(*) FROM throttle") == 0


async def test_an_effect_explains_its_own_failure_and_no_other(session: AsyncSession) -> None:
    problem = InvalidState("Explained.", field="id")
    await effects.write(session, _THROTTLE, {"key": "a"}, explain=lambda _: problem)
    await effects.write(session, _THROTTLE, {"key": "a"})
    with pytest.raises(IntegrityError):
        await effects.flush(session)
    await session.rollback()
    await begin(session)
    await effects.write(session, _THROTTLE, {"key": "a"})
    await effects.write(session, _THROTTLE, {"key": "a"}, explain=lambda _: problem)
    with pytest.raises(InvalidState, match="Explained"):
        await effects.flush(session)


async def test_nothing_is_sent_with_a_barrier_but_reads(session: AsyncSession, engine: AsyncEngine) -> None:
    seen: list[Any] = []
    with record_statements(engine) as statements:
        await effects.write(session, _THROTTLE, {"key": "a"}, check=seen.append, is_barrier=True)
        assert statements == []
        await effects.write(session, _THROTTLE, {"key": "b"})
        assert len(statements) == 1
        assert seen == [[("a",)]]
        await effects.settle(session)
        assert len(statements) == 1


async def test_rows_are_checked_before_the_commit(session: AsyncSession, world: World) -> None:
    def refuse(_: object) -> None:
        raise InvalidState("Refused.", field="id")

    await effects.write(session, _THROTTLE, {"key": "a"}, check=refuse)
    with pytest.raises(InvalidState, match="Refused"):
        await store_and_end(session)
    await session.rollback()
    assert await world.scalar("SELECT count(*) FROM throttle") == 0


async def test_a_session_without_a_queue_writes_at_once(engine: AsyncEngine) -> None:
    async with session_factory(engine)() as session:
        with record_statements(engine) as statements:
            await effects.write(session, _THROTTLE, {"key": "a"})
            assert "BEGIN" in statements
            assert await count(session, "a") == 1


async def test_a_cancelled_round_trip_leaves_a_usable_connection(session: AsyncSession) -> None:
    task = asyncio.ensure_future(effects.fetch(session, Call(_SLEEP, {"seconds": 60})))
    await asyncio.sleep(0)
    while not task.cancel():
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await session.rollback()
    await begin(session)
    assert await count(session, "%") == 0


async def test_a_statement_timeout_in_a_pipeline_stores_nothing(session: AsyncSession, world: World) -> None:
    await session.execute(text("SET LOCAL statement_timeout = 50"))
    await effects.write(session, _THROTTLE, {"key": "a"})
    await effects.write(session, _SLEEP, {"seconds": 60})
    with pytest.raises(DBAPIError, match="statement timeout"):
        await store_and_end(session)
    await session.rollback()
    assert await world.scalar("SELECT count(*) FROM throttle") == 0


async def test_a_connection_whose_pipeline_broke_is_never_used_again(session: AsyncSession) -> None:
    driver = await begin(session)
    task = asyncio.ensure_future(pipelines.send(driver, [Call(_SLEEP, {"seconds": 60})]))
    while driver.pgconn.pipeline_status == psycopg.pq.PipelineStatus.OFF:
        await asyncio.sleep(0)
    task.get_coro().close()  # nothing waits for the answer any more
    assert driver.closed
    with pytest.raises(DBAPIError):
        await effects.fetch(session, Call(_COUNT, {"key": "%"}))
    await session.rollback()
    assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
