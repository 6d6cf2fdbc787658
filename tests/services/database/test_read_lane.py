"""Reads that are sent together: each gets its own answer, and a failure is told to nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import engine as database_engine
from services.database import read_batches, read_connections
from services.database.read_batches import ReadNotDone
from services.database.read_lane import ReadLane, lane_of
from tests.conftest import Database

QUICK = b"SELECT $1 || '!'"
SLEEP = b"SELECT pg_sleep($1::text::float8)::text"


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = database_engine.create_pool(replace(database.settings, pool_size=4))
    yield engine
    await engine.dispose()


@pytest.fixture
def lane(engine: AsyncEngine) -> ReadLane:
    return lane_of(engine)


async def _fetch(lane: ReadLane, statement: bytes, *parameters: Any, seconds: float = 10) -> Any:
    ends_at = asyncio.get_running_loop().time() + seconds
    ((value,),) = await lane.fetch(statement, parameters, ends_at=ends_at)
    return value


async def _count_running(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE query LIKE 'SELECT pg_sleep($1%' AND state = 'active'"
            )
        )
        return int(rows.scalar_one())


async def _wait_for_running(engine: AsyncEngine, count: int) -> None:
    async with asyncio.timeout(5):
        while await _count_running(engine) != count:
            await asyncio.sleep(0.02)


async def test_each_of_many_reads_gets_its_own_answer(lane: ReadLane) -> None:
    answers = await asyncio.gather(*[_fetch(lane, QUICK, str(i)) for i in range(200)])
    assert answers == [f"{i}!".encode() for i in range(200)]


async def test_reads_known_to_be_quick_share_a_connection(engine: AsyncEngine, lane: ReadLane) -> None:
    backend = b"SELECT pg_backend_pid()::text || left($1, 0)"
    for _ in range(3):
        await _fetch(lane, backend, "")
    lane._seconds[backend] = 0.0001  # a busy machine may make it look slow
    assert len(set(await asyncio.gather(*[_fetch(lane, backend, "") for _ in range(10)]))) == 1
    assert read_connections.idle_count(engine) >= 1


async def test_a_slow_read_delays_no_quick_one(lane: ReadLane) -> None:
    await _fetch(lane, QUICK, "first")
    slow = asyncio.create_task(_fetch(lane, SLEEP, "1.5"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        assert await _fetch(lane, QUICK, "quick") == b"quick!"
    assert not slow.done()
    assert await slow == b""


async def test_a_failed_read_leaves_the_connection_in_order(engine: AsyncEngine, lane: ReadLane) -> None:
    divide = b"SELECT (1 / $1::text::integer)::text"
    for _ in range(3):
        assert await _fetch(lane, divide, "1") == b"1"
    lane._seconds[divide] = 0.0001  # sent together however busy the machine
    answers = await asyncio.gather(
        *[_fetch(lane, divide, number) for number in ("1", "0", "1")], return_exceptions=True
    )
    assert answers[0] == b"1"
    assert isinstance(answers[1], ReadNotDone)
    assert answers[2] == b"1" or isinstance(answers[2], ReadNotDone)  # not run, unless it was sent alone
    assert await _fetch(lane, divide, "1") == b"1"
    connection = read_connections.take_idle(engine)
    assert connection is not None
    assert connection.is_reusable
    read_connections.give_back(engine, connection)


async def test_a_read_ends_in_time_and_is_cancelled_in_the_database(
    engine: AsyncEngine, lane: ReadLane
) -> None:
    with pytest.raises(TimeoutError):
        await _fetch(lane, SLEEP, "30", seconds=0.2)
    assert await _count_running(engine) == 0
    assert await _fetch(lane, QUICK, "next") == b"next!"


async def test_a_read_that_nobody_waits_for_is_cancelled_in_the_database(
    engine: AsyncEngine, lane: ReadLane
) -> None:
    read = asyncio.create_task(_fetch(lane, SLEEP, "30"))
    await _wait_for_running(engine, 1)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await _wait_for_running(engine, 0)
    answers = await asyncio.gather(*[_fetch(lane, QUICK, str(i)) for i in range(20)])
    assert answers == [f"{i}!".encode() for i in range(20)]


async def test_a_read_cancelled_before_it_is_sent_is_not_sent(engine: AsyncEngine, lane: ReadLane) -> None:
    read = asyncio.create_task(_fetch(lane, SLEEP, "30"))
    await asyncio.sleep(0)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await asyncio.sleep(0.1)
    assert await _count_running(engine) == 0


async def test_a_broken_connection_is_never_handed_on(engine: AsyncEngine, lane: ReadLane) -> None:
    read = asyncio.create_task(_fetch(lane, SLEEP, "30"))
    await _wait_for_running(engine, 1)
    async with engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'SELECT pg_sleep($1%' AND pid <> pg_backend_pid()"
            )
        )
    with pytest.raises(ReadNotDone):
        await asyncio.wait_for(read, 5)
    answers = await asyncio.gather(*[_fetch(lane, QUICK, str(i)) for i in range(20)])
    assert answers == [f"{i}!".encode() for i in range(20)]


async def test_a_statement_whose_result_changed_is_prepared_anew(lane: ReadLane, database: Database) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE thing (value integer)")
        owner.execute("GRANT SELECT ON thing TO commonweal_app")
        owner.execute("INSERT INTO thing VALUES (1)")
    read = b"SELECT * FROM thing"
    assert await _fetch(lane, read) == b"1"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE thing ALTER value TYPE text")
    with pytest.raises(ReadNotDone):
        await _fetch(lane, read)
    assert await _fetch(lane, read) == b"1"


async def test_a_connection_keeps_a_bounded_number_of_statements(
    lane: ReadLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_batches, "MAX_PREPARED", 5)
    for _ in range(2):
        for i in range(20):
            assert await _fetch(lane, b"SELECT $1 || '%d'" % i, "") == b"%d" % i
    kept = b"SELECT count(*)::text FROM pg_prepared_statements WHERE name LIKE 'lane%'"
    assert int(await _fetch(lane, kept)) <= 6


async def test_reads_fail_when_no_connection_becomes_free(
    engine: AsyncEngine, lane: ReadLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_connections, "WAIT_SECONDS", 0.1)
    taken = [await read_connections.acquire(engine) for _ in range(2)]
    with pytest.raises(ReadNotDone):
        await _fetch(lane, QUICK, "late")
    for connection in taken:
        await connection.release()
    assert await _fetch(lane, QUICK, "then") == b"then!"


async def test_a_connection_that_becomes_idle_serves_while_another_is_opened(
    lane: ReadLane, database: Database
) -> None:
    await _fetch(lane, QUICK, "")
    slow = asyncio.ensure_future(_fetch(lane, SLEEP, "0.3"))
    await asyncio.sleep(0.1)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("LOCK TABLE pg_authid")  # nobody can sign in
        assert await _fetch(lane, QUICK, "then", seconds=5) == b"then!"
    await slow


async def test_other_types_of_parameters_are_another_statement(lane: ReadLane) -> None:
    statement = b"SELECT ($1 + 1)::text"
    assert await _fetch(lane, statement, 1) == b"2"
    assert await _fetch(lane, statement, 2**40) == b"1099511627777"
    assert await _fetch(lane, statement, 1) == b"2"


async def test_statements_that_were_dropped_are_prepared_anew(engine: AsyncEngine, lane: ReadLane) -> None:
    statements = [b"SELECT $1 || '%d'" % i for i in range(3)]
    for statement in statements:
        await _fetch(lane, statement, "")
    connection = await read_connections.acquire(engine)
    await connection.driver.execute("DEALLOCATE ALL")
    await connection.release()
    with pytest.raises(ReadNotDone):
        await _fetch(lane, statements[0], "")
    assert [await _fetch(lane, statement, "") for statement in statements] == [b"0", b"1", b"2"]


async def test_a_value_that_cannot_be_sent_fails_alone(engine: AsyncEngine, lane: ReadLane) -> None:
    await _fetch(lane, QUICK, "first")
    backend = await _fetch(lane, b"SELECT pg_backend_pid()::text")
    with pytest.raises(ReadNotDone):
        await _fetch(lane, QUICK, object())
    await asyncio.sleep(0.05)  # until the connection has told that it is done
    assert await _fetch(lane, b"SELECT pg_backend_pid()::text") == backend
    assert read_connections.idle_count(engine) == 1


async def _lock(engine: AsyncEngine, stack: AsyncExitStack) -> None:
    connection = await stack.enter_async_context(engine.connect())
    await connection.execute(text("SELECT pg_advisory_lock(7)"))
    stack.push_async_callback(connection.execute, text("SELECT pg_advisory_unlock(7)"))


LOCKED = b"SELECT pg_advisory_xact_lock_shared(length($1) + 7)::text"
"""As quick as the others, until somebody holds the lock."""


async def test_a_quick_statement_that_is_held_up_holds_up_no_other(
    engine: AsyncEngine, lane: ReadLane
) -> None:
    for statement in (LOCKED, QUICK):
        for _ in range(3):
            await _fetch(lane, statement, "")
        lane._seconds[statement] = 0.0001
    async with AsyncExitStack() as stack:
        await _lock(engine, stack)
        held = asyncio.create_task(_fetch(lane, LOCKED, ""))
        behind = asyncio.create_task(_fetch(lane, QUICK, "behind"))  # sent with it
        await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            assert await _fetch(lane, QUICK, "later") == b"later!"
            with pytest.raises(ReadNotDone):
                await behind
        assert not held.done()
    assert await held == b""
