"""After lost connections, locks and responses, a mutation has run once or not at all."""

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
from tests.donation_world import DonationScene, error_code, expect_order, expect_status
from tests.factories import World
from tests.postgres_backends import terminate, waiting_backend


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


@asynccontextmanager
async def another_server(scene: DonationScene, settings: Settings) -> AsyncIterator[DonationScene]:
    """Give the scene a second pool of connections, as another process has."""
    engine = database_engine.create_pool(settings)
    world = copy(scene.world)
    world.sessions = database_engine.session_factory(engine)
    yield replace(scene, world=world)
    await engine.dispose()


@pytest.mark.parametrize("table", ["ledger_account", '"order"', "collective"])
async def test_an_operation_is_retried_when_its_connection_dies(
    scene: DonationScene, database: Database, table: str
) -> None:
    order_id = await scene.expense("10.00")
    with psycopg.connect(database.owner_url) as blocker:
        blocker.execute(f"SELECT FROM {table} FOR UPDATE".encode())
        # A donation waits at collectives, at accounts; an approval at the order.
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

    expect_order(first)
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
    await scene.world.assert_clean_ledger()


async def test_a_second_request_with_a_key_succeeds_when_the_connection_of_the_first_dies(
    scene: DonationScene, database: Database
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
    assert expect_status(answers[0]) == "PAID"
    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.assert_clean_ledger()


async def test_a_deadlocked_operation_is_retried(scene: DonationScene, database: Database) -> None:
    """The blocker takes babel's account, then waits for webpack's, which the donation has."""
    with psycopg.connect(database.owner_url) as blocker:
        lock = b"SELECT FROM ledger_account WHERE owner_id = %s AND kind = 'BALANCE' FOR UPDATE"
        blocker.execute("SET deadlock_timeout = '10s'")  # the donation is the one that gives way
        last, first = sorted([scene.webpack.id, scene.babel.id], reverse=True)
        blocker.execute(lock, [last])
        donation = asyncio.create_task(scene.donate("10.00"))
        await waiting_backend(database)
        crossing = asyncio.create_task(asyncio.to_thread(blocker.execute, lock, [first]))
        await crossing
        blocker.rollback()
        expect_order(await donation)

    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.assert_clean_ledger()


async def test_a_lock_timeout_is_a_conflict_and_stores_nothing(
    scene: DonationScene, database: Database
) -> None:
    before = await scene.world.fingerprint()
    async with another_server(scene, replace(database.settings, lock_timeout_ms=200)) as impatient:
        with psycopg.connect(database.owner_url) as blocker:
            blocker.execute("SELECT FROM ledger_account FOR UPDATE")
            answer = await impatient.donate("10.00", idempotencyKey="k")

    assert error_code(answer) == "CONFLICT"
    assert await scene.world.fingerprint() == before
    expect_order(await scene.donate("10.00", idempotencyKey="k"))


async def test_a_client_without_a_response_retries_on_another_server(
    scene: DonationScene, database: Database
) -> None:
    arguments: dict[str, Any] = {"idempotencyKey": "k", "description": "once"}
    await scene.donate("10.00", **arguments)  # committed; the answer is lost with the server
    before = await scene.world.fingerprint()
    async with another_server(scene, database.settings) as other:
        again = await other.donate("10.00", **arguments)

    assert expect_status(again) == "PAID"
    assert await scene.world.fingerprint() == before
    assert await scene.world.balance(scene.babel) == (1000, 0)
