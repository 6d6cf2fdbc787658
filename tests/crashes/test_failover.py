"""A primary lost with its machine: nothing acknowledged is lost or doubled, and no answer is a fault."""

import asyncio
from pathlib import Path

import httpx

from services.core import public_ids
from services.database import engine as database_engine
from tests.crashes.own_cluster import assert_clean
from tests.crashes.standbys import Group, Node, run_group
from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.history.calls import ApiClient, Call
from tests.subscription_client import run_process
from tests.test_live_processes import no_rates_to_load

CLIENTS = 6
DONATIONS_AFTER = 5
"""Donations of each client that end after the promotion."""


async def create_scene(group: Group) -> DonationScene:
    """Create a scene in which webpack has 1,000.00, through connections that are closed again."""
    engine = database_engine.create_pool(group.settings)
    try:
        world = await World.create(group.settings, database_engine.session_factory(engine))
        scene = await DonationScene.create(world, funds="1000.00")
        await no_rates_to_load(world)
        return scene
    finally:
        await engine.dispose()


def donation(scene: DonationScene, key: str) -> Call:
    """Return a donation of a dollar under a key."""
    sides = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    return Call("donate", scene.giver.token, {**sides, "amount": money("1.00"), "idempotencyKey": key})


async def test_a_failover_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with run_group() as group:
        scene = await create_scene(group)
        async with (
            run_process(group.settings, tmp_path / "log", commit_timeout_ms=2_000) as process,
            httpx.AsyncClient(base_url=f"http://{process.address}", timeout=60, trust_env=False) as http,
        ):
            api, promoted = ApiClient(http), asyncio.Event()

            async def donate(client: int) -> None:
                number = after = 0
                while after < DONATIONS_AFTER:
                    await api.settle(donation(scene, f"{client}-{number}"))
                    number += 1
                    after += promoted.is_set()

            clients = [asyncio.create_task(donate(client)) for client in range(CLIENTS)]
            async with asyncio.timeout(60):
                while len(api.calls) < 4 * CLIENTS:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(group.primary.kill)
            await asyncio.to_thread(furthest(group).promote)
            promoted.set()
            async with asyncio.timeout(120):
                await asyncio.gather(*clients)
        check_orders(furthest(group), api)
        assert "INTERNAL_SERVER_ERROR" not in (tmp_path / "log").read_text()
        await assert_clean(group.settings)


def furthest(group: Group) -> Node:
    """Return the standby that has received most: what was acknowledged is on one of them at least."""
    position = "SELECT pg_last_wal_receive_lsn()::pg_lsn - '0/0'::pg_lsn"
    return max(group.standbys, key=lambda node: node.execute(position)[0][0])


def check_orders(node: Node, api: ApiClient) -> None:
    """Compare the orders with what was acknowledged: each is there, once, and there are no others."""
    acknowledged = [call.result["order"]["id"] for call in api.calls if call.result is not None]
    rows = node.execute(
        'SELECT o.id, count(t.id) FROM "order" o LEFT JOIN transaction t ON t.order_id = o.id'
        " WHERE o.type = 'DONATION' GROUP BY o.id"
    )
    assert all(count == 1 for _, count in rows)
    assert sorted(public_ids.encode("Order", row_id) for row_id, _ in rows) == sorted(acknowledged)
    assert len(acknowledged) == len(set(acknowledged)) == len(api.calls)
