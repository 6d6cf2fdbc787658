"""A connection dies, a lock never comes, an answer is lost: what was asked is done once or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Database
from tests.donation_world import Scene, code, done, status
from tests.factories import World
from tests.postgres_backends import terminate, waiting_backend


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> Scene:
    """Return a scene in which webpack has 100.00."""
    return await Scene.among_others(shared)


@asynccontextmanager
async def another_server(scene: Scene, settings: Settings) -> AsyncIterator[Scene]:
    """Let the scene be served by another process: with connections of its own."""
    engine = database_engine.connect(settings)
    world = copy(scene.world)
    world.sessions = database_engine.sessions(engine)
    yield replace(scene, world=world)
    await engine.dispose()


@pytest.mark.parametrize("table", ["ledger_account", '"order"', "collective"])
async def test_an_operation_whose_connection_dies_is_run_again(
    scene: Scene, database: Database, table: str
) -> None:
    order_id = await scene.expense("10.00")
    with psycopg.connect(database.owner_url) as blocker:
        blocker.execute(f"SELECT FROM {table} FOR UPDATE".encode())
        # A gift waits at collectives, at accounts; an approval at the order.
        work = (
            scene.approve(order_id, idempotencyKey="k")
            if table == '"order"'
            else scene.donate("10.00", idempotencyKey="k")
        )
        running = asyncio.create_task(work)
        terminate(database, await waiting_backend(database))
        await asyncio.sleep(0.1)
        blocker.rollback()
        first = await running

    done(first)
    again = (
        await scene.approve(order_id, idempotencyKey="k")
        if table == '"order"'
        else await scene.donate("10.00", idempotencyKey="k")
    )
    assert again == first
    assert (
        await scene.world.scalar(
            "SELECT count(*) FROM idempotency WHERE actor_id = :id", id=scene.giver.user.id
        )
        == 1
    )
    posted, held = await scene.world.balance(scene.webpack)
    assert posted - held == 9000
    await scene.world.audit_is_clean()


async def test_the_second_of_two_with_one_key_works_when_the_firsts_connection_dies(
    scene: Scene, database: Database
) -> None:
    with psycopg.connect(database.owner_url) as blocker:
        blocker.execute("SELECT FROM ledger_account FOR UPDATE")
        first = asyncio.create_task(scene.donate("10.00", idempotencyKey="k"))
        pid = await waiting_backend(database)
        second = asyncio.create_task(scene.donate("10.00", idempotencyKey="k"))
        await asyncio.sleep(0.2)
        terminate(database, pid)
        blocker.rollback()
        answers = await asyncio.gather(first, second)

    assert answers[0] == answers[1]
    assert status(answers[0]) == "PAID"
    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.audit_is_clean()


async def test_a_deadlock_is_run_again(scene: Scene, database: Database) -> None:
    """The blocker takes babel's account, then waits for webpack's, which the gift has."""
    with psycopg.connect(database.owner_url) as blocker:
        lock = b"SELECT FROM ledger_account WHERE owner_id = %s AND kind = 'BALANCE' FOR UPDATE"
        blocker.execute("SET deadlock_timeout = '10s'")  # the gift is the one that gives way
        last, first = sorted([scene.webpack.id, scene.babel.id], reverse=True)
        blocker.execute(lock, [last])
        gift = asyncio.create_task(scene.donate("10.00"))
        await waiting_backend(database)
        crossing = asyncio.create_task(asyncio.to_thread(blocker.execute, lock, [first]))
        await crossing
        blocker.rollback()
        done(await gift)

    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.audit_is_clean()


async def test_a_wait_that_is_too_long_is_a_conflict_and_stores_nothing(
    scene: Scene, database: Database
) -> None:
    before = await scene.world.fingerprint()
    async with another_server(scene, replace(database.settings, lock_timeout_ms=200)) as impatient:
        with psycopg.connect(database.owner_url) as blocker:
            blocker.execute("SELECT FROM ledger_account FOR UPDATE")
            answer = await impatient.donate("10.00", idempotencyKey="k")

    assert code(answer) == "CONFLICT"
    assert await scene.world.fingerprint() == before
    done(await scene.donate("10.00", idempotencyKey="k"))


async def test_a_client_that_never_got_the_answer_asks_another_server(
    scene: Scene, database: Database
) -> None:
    given: dict[str, Any] = {"idempotencyKey": "k", "description": "once"}
    await scene.donate("10.00", **given)  # committed; the answer is lost with the server
    before = await scene.world.fingerprint()
    async with another_server(scene, database.settings) as other:
        again = await other.donate("10.00", **given)

    assert status(again) == "PAID"
    assert await scene.world.fingerprint() == before
    assert await scene.world.balance(scene.babel) == (1000, 0)
