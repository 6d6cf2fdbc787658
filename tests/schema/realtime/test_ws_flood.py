"""What one subscriber may cost the others: frames, answers, and the size of an answer."""

from collections.abc import Callable
from typing import Any

import pytest

from schema.execution.cost_meter import Meter
from schema.realtime import subscription_runner, websocket_messages
from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.subscription_client import ApiServer, connect_client, serve_in_process, wait_until

POSTED = "subscription($c: CollectiveRef!) { transactionPosted(collective: $c) { transaction { id } } }"
PLACED = "subscription($c: CollectiveRef!) { transactionPosted(collective: $c) { position } }"


@pytest.mark.parametrize("kind", ["ping", "text", "pong"])
async def test_a_flood_of_frames_is_closed(world: World, kind: str) -> None:
    async with (
        serve_in_process(world.settings, live_frames_per_second=5) as api,
        connect_client(api) as client,
    ):
        for _ in range(200):
            if kind == "ping":
                await client.socket.ping()
            elif kind == "pong":
                await client.socket.pong()
            else:
                await client.send("ping")
        assert await client.close_frame() == (websocket_messages.POLICY, "Too many frames")


async def test_long_frames_count_for_more(world: World) -> None:
    async with (
        serve_in_process(world.settings, live_frames_per_second=5) as api,
        connect_client(api) as client,
    ):
        for _ in range(4):
            await client.send("ping", payload={"text": "a" * 100_000})
        assert (await client.close_frame())[0] == websocket_messages.POLICY


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the payloads of the answers that were computed."""
    payloads: list[Any] = []
    original: Callable[..., Any] = subscription_runner._execute_event

    async def execute(executor: Any, context: Any, payload: Any) -> Any:
        payloads.append(payload)
        return await original(executor, context, payload)

    monkeypatch.setattr(subscription_runner, "_execute_event", execute)
    return payloads


@pytest.mark.parametrize(("query", "count"), [(POSTED, 1), (PLACED, None)])
async def test_equal_selections_of_one_viewer_are_computed_once(
    api: ApiServer, scene: DonationScene, computed: list[Any], query: str, count: int | None
) -> None:
    async with connect_client(api) as first, connect_client(api) as second:
        for client in (first, second):
            await client.subscribe(query, "a", c=ref(scene.webpack))
            await client.subscribe(query, "b", c=ref(scene.webpack))
        await wait_until(lambda: len(api.live.broadcaster) == 4)
        await scene.world.fund(scene.webpack, "3", by=scene.holder)
        for client in (first, second):
            assert {(await client.receive())["id"] for _ in range(2)} == {"a", "b"}
        assert count is None or len(computed) == count


async def test_viewers_do_not_share_answers(
    api: ApiServer, scene: DonationScene, computed: list[Any]
) -> None:
    async with connect_client(api) as stranger, connect_client(api, scene.holder.token) as holder:
        for client in (stranger, holder):
            await client.subscribe(POSTED, c=ref(scene.webpack))
        await wait_until(lambda: len(api.live.broadcaster) == 2)
        await scene.world.fund(scene.webpack, "4", by=scene.holder)
        for client in (stranger, holder):
            await client.next()
        assert len(computed) == 2


async def test_each_answer_is_charged(
    api: ApiServer, scene: DonationScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[int] = []
    original = Meter.reserve_answers

    async def reserve(self: Meter, count: int) -> None:
        charged.append(count)
        await original(self, count)

    monkeypatch.setattr(Meter, "reserve_answers", reserve)
    async with connect_client(api) as client:
        await client.subscribe(POSTED, c=ref(scene.webpack))
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        for amount in ("5", "6"):
            await scene.world.fund(scene.webpack, amount, by=scene.holder)
            await client.next()
    assert sum(charged) == 2


async def test_without_points_an_answer_waits_and_is_not_lost(world: World, scene: DonationScene) -> None:
    limits = {"rate_capacity": 4, "rate_restore_per_second": 2, "max_cost": 4}
    async with serve_in_process(world.settings, **limits) as api, connect_client(api) as client:
        await client.subscribe(POSTED, c=ref(scene.webpack))
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        for _ in range(3):
            await world.fund(scene.webpack, "1", by=scene.holder)
        assert len({(await client.next())["transactionPosted"]["transaction"]["id"] for _ in range(3)}) == 3


async def test_an_answer_may_not_cost_too_much(world: World, scene: DonationScene) -> None:
    async with serve_in_process(world.settings, live_max_cost=1) as api, connect_client(api) as client:
        await client.subscribe(POSTED, c=ref(scene.webpack))
        assert await client.error() == "COST_LIMIT_EXCEEDED"
