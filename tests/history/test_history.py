"""What clients were told is what the database holds, to the unit, whatever died meanwhile.

COMMONWEAL_TEST_SEED repeats a run's choices, COMMONWEAL_TEST_SECONDS makes it longer (`make soak`).
"""

import os
import random
import secrets
from pathlib import Path

import httpx

from tests.conftest import Database
from tests.crashes.own_cluster import assert_clean
from tests.factories import World
from tests.history.backends import dying_backends
from tests.history.calls import ApiClient
from tests.history.records import read_records
from tests.history.replay import Replay
from tests.history.scene import create_scene
from tests.history.stories import DECISIONS, TYPES
from tests.history.workload import Workload
from tests.subscription_client import run_process

SEED = int(os.environ.get("COMMONWEAL_TEST_SEED") or secrets.randbelow(10**9))
SECONDS = float(os.environ.get("COMMONWEAL_TEST_SECONDS") or 60)
REPEATED = 100
"""Acknowledged calls that are sent once more at the end."""


async def test_a_random_history_is_what_its_replay_computes(
    world: World, database: Database, tmp_path: Path
) -> None:
    print(f"COMMONWEAL_TEST_SEED={SEED}")
    scene = await create_scene(world)
    chance = random.Random(SEED)
    limits = {"rate_capacity": 10**9, "rate_restore_per_second": 10**9}
    async with (
        run_process(world.settings, tmp_path / "log", **limits) as process,
        httpx.AsyncClient(base_url=f"http://{process.address}", timeout=60, trust_env=False) as http,
    ):
        api = ApiClient(http)
        workload = Workload(scene, api, chance)
        async with dying_backends(database, random.Random(SEED)) as ended:
            await workload.run(SECONDS)
        assert ended
        await _repeat_some(api, chance)

    replay = Replay(scene, read_records(database.owner_url))
    replay.compare(api.calls)
    print(len(api.calls), "calls;", len(ended), "backends ended;", dict(replay.compared))
    print(dict(sorted(api.codes.items())))
    assert replay.differences == []
    acknowledged = {call.mutation for call in api.calls if call.result and not call.arguments.get("dryRun")}
    assert acknowledged == TYPES.keys() | DECISIONS.keys()
    await assert_clean(world.settings)


async def _repeat_some(api: ApiClient, chance: random.Random) -> None:
    """Send acknowledged calls again: each has the result that it had."""
    done = [call for call in api.calls if call.result and not call.arguments.get("dryRun")]
    for call in chance.sample(done, min(REPEATED, len(done))):
        payload, code = await api.send(call)
        assert (payload, code) == (call.result, ""), call
