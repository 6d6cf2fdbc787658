"""A commit that no standby confirmed, and a primary that lives on after another was promoted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from services.core.errors import InvalidState
from services.database import engine as database_engine
from services.live.broadcaster import Broadcaster
from services.live.event_log import ORDER, Topic
from tests.crashes.own_cluster import assert_clean
from tests.crashes.standbys import Group, run_group
from tests.crashes.test_failover import create_scene, donation
from tests.donation_world import DonationScene
from tests.factories import World
from tests.history.calls import Call
from tests.live_events import current_position

IN_SYNC_WAIT = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' ORDER BY pid"
NEVER, QUORUM = "'nobody'", "'ANY 1 (two)'"
DONATIONS = "SELECT count(*) FROM \"order\" WHERE type = 'DONATION'"
LONGEST_WAIT = 60


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Return a primary with one synchronous standby; the last test takes its lead away."""
    with run_group(standbys=1) as group:
        yield group


@pytest.fixture(scope="module")
async def scene(group: Group) -> DonationScene:
    """Return a scene in which webpack has 1,000.00."""
    return await create_scene(group)


@pytest.fixture
async def world(scene: DonationScene) -> AsyncIterator[World]:
    """Return the scene's world with a pool of its own, as one server process has."""
    settings = scene.world.settings
    engine = database_engine.create_pool(settings)
    yield World(settings, database_engine.session_factory(engine))
    await engine.dispose()


async def send(world: World, call: Call) -> dict[str, Any]:
    """Send a call once; return the body."""
    return await world.execute(call.body["query"], by=call.token, **call.body["variables"])


def doubt(body: dict[str, Any]) -> tuple[str, object]:
    """Return the code of an answer's only error, and whether it is in doubt."""
    (error,) = body["errors"]
    return error["extensions"]["code"], error["extensions"].get("inDoubt")


def set_standbys(group: Group, names: str) -> None:
    """Say for whom commits of the primary wait."""
    group.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}")


async def cancel_waiting(group: Group) -> None:
    """Cancel the commit that waits for a standby, as an operator or a driver does."""
    async with asyncio.timeout(LONGEST_WAIT):
        while not (rows := await asyncio.to_thread(group.primary.execute, IN_SYNC_WAIT)):
            await asyncio.sleep(0.05)
    await asyncio.to_thread(group.primary.execute, f"SELECT pg_cancel_backend({rows[0][0]})")


async def test_what_no_standby_has_is_neither_answered_nor_replayed(
    group: Group, scene: DonationScene, world: World
) -> None:
    call = donation(scene, "cancelled")
    await asyncio.to_thread(set_standbys, group, NEVER)
    try:
        sending = asyncio.create_task(send(world, call))
        await cancel_waiting(group)
        assert doubt(await sending) == ("UNAVAILABLE", True)
        assert group.primary.execute(DONATIONS) == [(1,)], "PostgreSQL has committed all the same"
        assert doubt(await send(world, call)) == ("UNAVAILABLE", True), "the replay waits, too"
    finally:
        await asyncio.to_thread(set_standbys, group, QUORUM)
    first = (await send(world, call))["data"]["donate"]
    assert first["errors"] == []
    assert (await send(world, call))["data"]["donate"] == first
    assert group.primary.execute(DONATIONS) == [(1,)]
    assert group.standbys[0].execute("SELECT pg_is_in_recovery()") == [(True,)]


async def test_nobody_goes_back_to_a_primary_that_was_replaced(
    group: Group, scene: DonationScene, world: World
) -> None:
    assert "errors" not in await send(world, donation(scene, "before"))
    ((count_before,),) = group.primary.execute(DONATIONS)
    before = await current_position(world.sessions)
    broadcaster = Broadcaster(world.sessions, pause_ms=20)
    follower = await broadcaster.subscribe(Topic(ORDER, scene.babel.id), after=None, token=None)
    leader = group.standbys[0]
    await asyncio.to_thread(leader.promote)  # the old primary lives on, and takes connections

    call = donation(scene, "after")
    async with asyncio.timeout(LONGEST_WAIT):
        assert doubt(await send(world, call)) == ("UNAVAILABLE", True)
        assert "errors" not in await send(world, call), "the other host is asked first"
        with pytest.raises(InvalidState, match="failover"):
            await follower.next_batch()
    assert leader.execute(DONATIONS) == [(count_before + 1,)]
    # What was cut off in its commit goes on waiting for the standby.
    connected = (
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'commonweal_app' AND state <> 'idle'"
        " AND wait_event IS DISTINCT FROM 'SyncRep'"
    )
    for number in range(10):
        assert "errors" not in await send(world, donation(scene, f"later-{number}"))
        assert group.primary.execute(connected) == [(0,)]
    with pytest.raises(InvalidState, match="failover"):
        await broadcaster.subscribe(Topic(ORDER, scene.babel.id), after=before, token=None)
    await broadcaster.stop()
    await refuse_only_the_old_one(group)
    await assert_clean(group.settings)


async def refuse_only_the_old_one(group: Group) -> None:
    """Connect to each host alone: the old primary is refused, though it would take writes."""
    for node in (group.primary, group.standbys[0]):
        assert node.execute("SELECT pg_is_in_recovery()") == [(False,)]
    engine = database_engine.create_pool(group.settings_of(group.primary))
    with pytest.raises(DBAPIError, match="later timeline"):
        await engine.connect()
    await engine.dispose()
    engine = database_engine.create_pool(group.settings_of(group.standbys[0]))
    async with engine.connect():
        pass
    await engine.dispose()
