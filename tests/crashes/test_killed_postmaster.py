"""A PostgreSQL that is killed under load: nothing acknowledged is lost, nothing is done twice."""

import asyncio
import random
import tempfile
from pathlib import Path

import httpx

from tests.crashes.own_cluster import OwnCluster, assert_clean, scene_on, start_cluster
from tests.donation_world import DonationScene
from tests.factories import money, ref
from tests.history.calls import ApiClient, Call
from tests.subscription_client import run_process

CLIENTS = 6
KILLED_AFTER = 20
"""Acknowledged calls before each kill."""
KILLS = 2
AMOUNTS = (
    "SELECT coalesce(sum(amount), 0)::bigint FROM \"order\" WHERE status = 'PAID' AND description = 'crash'"
)


async def work(scene: DonationScene, api: ApiClient, chance: random.Random, stop: asyncio.Event) -> None:
    """Add funds, transfer and donate until `stop`; each call is settled."""
    number = 0
    name = chance.randrange(10**9)
    while not stop.is_set():
        number += 1
        amount = money(f"0.{chance.randrange(10, 100)}")
        mutation = chance.choice(["addFunds", "transferFunds", "donate"])
        sides = {"to": ref(scene.babel)} | ({} if mutation == "addFunds" else {"from": ref(scene.webpack)})
        by = scene.holder if mutation == "addFunds" else scene.giver
        key = f"{name}-{number}"
        arguments = sides | {"amount": amount, "description": "crash", "idempotencyKey": key}
        await api.settle(Call(mutation, by.token, arguments))


async def kill_and_start(cluster: OwnCluster, api: ApiClient) -> None:
    """Kill the postmaster after some calls, and start it again, several times."""
    for _ in range(KILLS):
        enough = len(api.calls) + KILLED_AFTER
        async with asyncio.timeout(90):
            while len(api.calls) < enough:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(cluster.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(cluster.wait_until_up)


async def test_nothing_acknowledged_is_lost_when_the_database_is_killed(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="cwkill", ignore_cleanup_errors=True) as folder,
        start_cluster(Path(folder)) as cluster,
    ):
        async with (
            scene_on(cluster) as scene,
            run_process(cluster.settings, tmp_path / "log") as process,
            httpx.AsyncClient(base_url=f"http://{process.address}", timeout=60, trust_env=False) as http,
        ):
            api, stop = ApiClient(http), asyncio.Event()
            clients = [asyncio.create_task(work(scene, api, random.Random(n), stop)) for n in range(CLIENTS)]
            await kill_and_start(cluster, api)
            stop.set()
            await asyncio.gather(*clients)
            for call in api.calls[-50:]:
                payload, code = await api.send(call)
                assert (payload, code) == (call.result, call.code), call

        done = [call for call in api.calls if call.result]
        assert len({call.result["order"]["id"] for call in done if call.result}) == len(done)
        assert sum(call.unknowns for call in api.calls) > 0
        expected = sum(round(float(call.arguments["amount"]["value"]) * 100) for call in done)
        assert cluster.scalar(AMOUNTS) == expected
        await assert_clean(cluster.settings)
