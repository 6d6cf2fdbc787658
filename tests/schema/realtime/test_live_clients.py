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
from tests.donation_world import Scene
from tests.factories import World, of
from tests.subscription_client import POSITION, Place, serving, until

TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    async with serving(database.settings) as place:
        yield place


@pytest.mark.parametrize("kind", ["ws", "sse"])
async def test_the_clients_of_npm(kind: str, place: Place, world: World) -> None:
    runner = await asyncio.to_thread(node_runner.ready)
    scene = await Scene.create(world)
    after = (await world.ask(POSITION))["livePosition"]
    await world.fund(scene.webpack, "1", by=scene.holder)
    running = asyncio.create_task(
        asyncio.to_thread(
            node_runner.script,
            runner,
            "live.mjs",
            kind,
            place.address,
            scene.giver.token,
            scene.webpack.slug,
            after,
            "3",
        )
    )
    await until(lambda: len(place.live.hub) == 1 or running.done())
    for value in ("2", "3"):
        await world.fund(scene.webpack, value, by=scene.holder)
    first, *told, last = [json.loads(line) for line in (await running).splitlines()]
    assert first == {"data": {"me": {"slug": scene.giver.slug}}}
    assert [amount(answer["data"]) for answer in told] == ["1.00", "2.00", "3.00"]
    assert last["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
    await until(lambda: len(place.live.hub) == 0 and place.live.open == 0)


async def test_gql_of_python(place: Place, world: World) -> None:
    scene = await Scene.create(world)
    after = (await world.ask(POSITION))["livePosition"]
    transport = WebsocketsTransport(
        url=f"ws://{place.address}/graphql",
        init_payload={"Authorization": f"Bearer {scene.giver.token}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        assert await session.execute(gql("{ me { slug } }")) == {"me": {"slug": scene.giver.slug}}
        await world.fund(scene.webpack, "1", by=scene.holder)
        found = []
        query = gql(TOLD)
        query.variable_values = {"c": of(scene.webpack), "after": after}
        async for answer in session.subscribe(query):
            found.append(amount(answer))
            if len(found) == 2:
                break
            await world.fund(scene.webpack, "2", by=scene.holder)
    assert found == ["1.00", "2.00"]
    await until(lambda: len(place.live.hub) == 0 and place.live.open == 0)


def amount(data: dict[str, Any]) -> str:
    """Return the amount that an answer tells."""
    value: str = data["transactionPosted"]["transaction"]["amount"]["value"]
    return value
