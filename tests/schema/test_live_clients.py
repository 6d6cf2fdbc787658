"""Live events through clients that others wrote: graphql-ws and graphql-sse of npm, and Python's gql."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from tests import node_runner
from tests.conftest import Database
from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.subscription_client import POSITION, ApiServer, serve_in_process, wait_until

TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""


@pytest.fixture
async def api(database: Database) -> AsyncIterator[ApiServer]:
    async with serve_in_process(database.settings) as api:
        yield api


@pytest.mark.parametrize("kind", ["ws", "sse"])
async def test_npm_clients_subscribe(kind: str, api: ApiServer, world: World) -> None:
    runner = await asyncio.to_thread(node_runner.require_node)
    scene = await DonationScene.create(world)
    after = (await world.query(POSITION))["livePosition"]
    await world.fund(scene.webpack, "1", by=scene.holder)
    running = asyncio.create_task(
        asyncio.to_thread(
            node_runner.run_script,
            runner,
            "live.mjs",
            kind,
            api.address,
            scene.giver.token,
            scene.webpack.slug,
            after,
            "3",
        )
    )
    await wait_until(lambda: len(api.live.broadcaster) == 1 or running.done())
    for value in ("2", "3"):
        await world.fund(scene.webpack, value, by=scene.holder)
    first, *results, last = [json.loads(line) for line in (await running).splitlines()]
    assert first == {"data": {"me": {"slug": scene.giver.slug}}}
    assert [amount(answer["data"]) for answer in results] == ["1.00", "2.00", "3.00"]
    assert last["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
    await wait_until(lambda: len(api.live.broadcaster) == 0 and api.live.connection_count == 0)


async def test_python_gql_subscribes(api: ApiServer, world: World) -> None:
    scene = await DonationScene.create(world)
    after = (await world.query(POSITION))["livePosition"]
    transport = WebsocketsTransport(
        url=f"ws://{api.address}/graphql",
        init_payload={"Authorization": f"Bearer {scene.giver.token}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        assert await session.execute(gql("{ me { slug } }")) == {"me": {"slug": scene.giver.slug}}
        await world.fund(scene.webpack, "1", by=scene.holder)
        results = []
        query = gql(TOLD)
        query.variable_values = {"c": ref(scene.webpack), "after": after}
        async for answer in session.subscribe(query):
            results.append(amount(answer))
            if len(results) == 2:
                break
            await world.fund(scene.webpack, "2", by=scene.holder)
    assert results == ["1.00", "2.00"]
    await wait_until(lambda: len(api.live.broadcaster) == 0 and api.live.connection_count == 0)


def amount(data: dict[str, Any]) -> str:
    """Return the amount that an answer tells."""
    value: str = data["transactionPosted"]["transaction"]["amount"]["value"]
    return value
