"""The protocol graphql-transport-ws, frame by frame: every close code, and what a hostile client may try."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.statement_counts import record_statements
from tests.subscription_client import ApiServer, connect_client, serve_in_process, wait_until

ME = "{ me { slug } }"
TOLD = "subscription($c: CollectiveRef!) { transactionPosted(collective: $c) { position } }"


@pytest.fixture(scope="module")
async def api(world: World) -> AsyncIterator[ApiServer]:
    async with serve_in_process(
        world.settings, allowed_origins="https://friend.example, http://other:81"
    ) as api:
        yield api


BAD_FRAMES: dict[str, str | bytes] = {
    "binary": b'{"type": "ping"}',
    "empty": "",
    "no JSON": "{",
    "null": "null",
    "a list": "[]",
    "a string": '"ping"',
    "a number": "1",
    "no type": "{}",
    "a type that is none": '{"type": "hello"}',
    "a type of null": '{"type": null}',
    "the old protocol": '{"type": "start", "id": "1", "payload": {"query": "{ me { id } }"}}',
    "nested": "[" * 50_000,
    "NaN": '{"type": "ping", "payload": {"a": NaN}}',
    "a ping's list": '{"type": "ping", "payload": []}',
    "init's string": '{"type": "connection_init", "payload": "x"}',
    "a server's word": '{"type": "next", "id": "1"}',
    "no id": '{"type": "subscribe", "payload": {"query": "{ me { id } }"}}',
    "an id of null": '{"type": "complete", "id": null}',
    "an id of nothing": '{"type": "complete", "id": ""}',
    "a long id": '{"type": "complete", "id": "%s"}' % ("x" * 101),
}
BAD_PAYLOADS: dict[str, Any] = {
    "none": None,
    "a string": "x",
    "a list": [],
    "empty": {},
    "no text": {"query": 1},
    "a batch": [{"query": ME}],
    "variables": {"query": ME, "variables": []},
    "a name": {"query": ME, "operationName": 7},
    "extensions": {"query": ME, "extensions": "x"},
    "NUL": {"query": "{ me { id } }\0"},
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_4400_for_a_frame_that_is_not_a_message(api: ApiServer, name: str) -> None:
    async with connect_client(api, init=False) as client:
        await client.send_frame(BAD_FRAMES[name])
        assert (await client.close_frame())[0] == 4400


@pytest.mark.parametrize("name", BAD_PAYLOADS)
async def test_4400_for_a_subscribe_without_a_valid_request(api: ApiServer, name: str) -> None:
    async with connect_client(api) as client:
        await client.send("subscribe", "1", BAD_PAYLOADS[name])
        assert (await client.close_frame())[0] == 4400


async def test_4401_for_subscribe_before_the_acknowledgement(api: ApiServer) -> None:
    async with connect_client(api, init=False) as client:
        await client.subscribe(ME)
        assert await client.close_frame() == (4401, "Unauthorized")


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": "Bearer nonsense"},
        {"authorization": "Basic eA=="},
        {"token": "nonsense"},
        {"token": 7},
        {"Authorization": ["x"]},
        {"Authorization": "Bearer "},
        {"token": ""},
        {"token": "\0"},
    ],
    ids=str,
)
async def test_4403_for_an_invalid_token(api: ApiServer, payload: dict[str, Any]) -> None:
    async with connect_client(api, init=False) as client:
        await client.send("connection_init", payload=payload)
        assert (await client.close_frame())[0] == 4403


@pytest.mark.parametrize("offered", [["graphql-ws"], ["graphql-ws", "soap"], None], ids=str)
async def test_4406_for_other_subprotocols(api: ApiServer, offered: list[Subprotocol] | None) -> None:
    async with connect_client(api, init=False, subprotocols=offered) as client:
        assert client.socket.subprotocol is None
        assert (await client.close_frame())[0] == 4406


async def test_4408_for_a_silent_client(world: World) -> None:
    async with serve_in_process(world.settings, live_init_seconds=1) as api:
        async with connect_client(api, init=False) as client:
            assert await client.close_frame() == (4408, "Connection initialisation timeout")
        async with connect_client(api, init=False) as client:
            await client.send("ping")
            assert await client.receive() == {"type": "pong"}
            assert (await client.close_frame())[0] == 4408, "a ping is no initialisation"
        async with connect_client(api) as client:
            await asyncio.sleep(1.2)
            await client.subscribe(ME)
            assert await client.next() == {"me": None}


async def test_4409_for_an_id_in_use(api: ApiServer, scene: DonationScene) -> None:
    async with connect_client(api) as client:
        await client.subscribe(TOLD, c=ref(scene.host))
        await client.subscribe(TOLD, c=ref(scene.host))
        assert await client.close_frame() == (4409, "Subscriber for 1 already exists")


async def test_an_id_is_free_again_after_complete(api: ApiServer, scene: DonationScene) -> None:
    async with connect_client(api) as client:
        for _ in range(3):
            await client.subscribe(TOLD, c=ref(scene.host))
            await client.send("complete", "1")
            await client.subscribe(ME)
            assert await client.next() == {"me": None}
            assert await client.receive() == {"type": "complete", "id": "1"}
        await client.send("complete", "of nothing")
        await client.send("pong")
        await client.send("ping", payload={"a": 1})
        assert await client.receive() == {"type": "pong"}
    await wait_until(lambda: len(api.live.broadcaster) == 0)


async def test_4429_for_a_second_initialisation(api: ApiServer) -> None:
    async with connect_client(api) as client:
        await client.send("connection_init")
        assert await client.close_frame() == (4429, "Too many initialisation requests")


async def test_4500_without_a_database(world: World) -> None:
    nowhere = {"database_url": "postgresql://nobody@127.0.0.1:1/nothing", "pool_size": 1}
    async with (
        serve_in_process(world.settings, **nowhere) as away,
        connect_client(away, init=False) as client,
    ):
        await client.send("connection_init", payload={"token": "x"})
        assert (await client.close_frame())[0] == 4500


async def test_1009_for_an_oversized_frame(api: ApiServer) -> None:
    async with connect_client(api) as client:
        await client.send_frame(orjson.dumps({"type": "ping", "payload": {"x": "y" * 300_000}}).decode())
        assert (await client.close_frame())[0] == 1009


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://evil", "", "https://friend.example.evil"]
)
async def test_pages_from_other_origins_cannot_connect(api: ApiServer, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect_client(api, origin=Origin(origin)):
            pass
    assert refused.value.response.status_code == 403


async def test_own_and_allowed_origins_can_connect(api: ApiServer) -> None:
    for origin in (f"http://{api.address}", "https://friend.example", "http://other:81", None):
        async with connect_client(api, origin=None if origin is None else Origin(origin)):
            pass


async def test_queries_and_mutations_run_as_over_http(api: ApiServer, scene: DonationScene) -> None:
    donate = "mutation($i: DonateInput!) { donate(input: $i) { order { status } errors { code } } }"
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    async with connect_client(api, scene.giver.token) as client:
        await client.subscribe(ME, "a")
        assert await client.next("a") == {"me": {"slug": scene.giver.slug}}
        assert await client.receive() == {"type": "complete", "id": "a"}
        await client.subscribe(donate, "b", i=arguments)
        assert await client.next("b") == {"donate": {"order": {"status": "PAID"}, "errors": []}}
        assert await client.receive() == {"type": "complete", "id": "b"}
        for bad in (
            "{",
            "{ nothing }",
            "subscription { orderChanged }",
            "query A { me { id } } query B { me { id } }",
        ):
            await client.subscribe(bad, "c")
            assert await client.error("c") == "BAD_REQUEST"
        two = TOLD.replace("{ t", "{ a: balanceChanged(collective: $c) { position } t", 1)
        await client.subscribe(two, "c", c=ref(scene.webpack))
        assert await client.error("c") == "BAD_REQUEST"
        await client.subscribe(TOLD, "c", c={"id": 1.5})
        assert await client.error("c") == "BAD_REQUEST"


async def test_a_query_is_one_statement_as_over_http(api: ApiServer, scene: DonationScene) -> None:
    query = "{ me { slug } transactions(first: 3) { totalCount nodes { id toCollective { slug } } } }"
    app: Any = api.server.config.app
    async with connect_client(api, scene.giver.token) as client:
        for name in "ab":  # the viewer and the document are known afterwards
            await client.subscribe(query, name)
            await client.next(name)
            await client.receive()
        with record_statements(app.state.engine) as statements:
            await client.subscribe(query, "c")
            answer = await client.next("c")
        assert answer["me"] == {"slug": scene.giver.slug}
        assert len([s for s in statements if "roots" in s]) == 1
        assert not any("FROM token" in s for s in statements)


async def test_a_token_in_the_upgrade_request_is_accepted(api: ApiServer, scene: DonationScene) -> None:
    headers = {"Authorization": f"Bearer {scene.giver.token}"}
    async with connect_client(api, additional_headers=headers) as client:
        await client.subscribe(ME)
        assert await client.next() == {"me": {"slug": scene.giver.slug}}
    async with connect_client(api, init=False, additional_headers={"Authorization": "Basic eA=="}) as client:
        await client.send("connection_init")
        assert (await client.close_frame())[0] == 4403


async def test_documents_are_named_by_their_hash(api: ApiServer, scene: DonationScene) -> None:
    text = TOLD + " # by its hash"
    hashed = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}
    async with connect_client(api) as client:
        results = {"extensions": hashed, "variables": {"c": ref(scene.host)}}
        await client.send("subscribe", "1", results)
        assert await client.error() == "PERSISTED_QUERY_NOT_FOUND"
        await client.send("subscribe", "1", results | {"query": text})
        await client.send("subscribe", "2", results)
        await wait_until(lambda: len(api.live.broadcaster) == 2)


async def test_the_operations_of_a_connection_are_limited(api: ApiServer, scene: DonationScene) -> None:
    async with connect_client(api) as client:
        for number in range(21):
            await client.subscribe(TOLD, str(number), c=ref(scene.host))
        assert await client.error("20") == "LIMIT_EXCEEDED"
        await client.send("complete", "0")
        await client.subscribe(ME, "20")
        assert await client.next("20") == {"me": None}


async def test_too_many_connections_are_refused(world: World) -> None:
    async with serve_in_process(world.settings, live_connections_per_address=2) as api:
        async with connect_client(api), connect_client(api) as second:
            await refused_429(api)
            await second.socket.close()
            await wait_until(lambda: api.live.connection_count == 1)
            async with connect_client(api):
                pass
        await wait_until(lambda: api.live.connection_count == 0)
    async with serve_in_process(world.settings, live_connections=1) as api, connect_client(api):
        await refused_429(api)


async def refused_429(api: ApiServer) -> None:
    """Assert that another client cannot connect."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect_client(api):
            pass
    assert refused.value.response.status_code == 429


async def test_1012_when_the_server_stops(world: World, scene: DonationScene) -> None:
    async with (
        serve_in_process(world.settings) as api,
        connect_client(api) as client,
        connect_client(api) as idle,
    ):
        await client.subscribe(TOLD, c=ref(scene.host))
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        api.server.should_exit = True
        assert (await client.close_frame())[0] == 1012
        assert (await idle.close_frame())[0] == 1012


async def test_a_client_that_vanishes_leaves_nothing_running(api: ApiServer, scene: DonationScene) -> None:
    async with connect_client(api) as client:
        await client.subscribe(TOLD, c=ref(scene.host))
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        client.socket.transport.abort()
        await wait_until(lambda: len(api.live.broadcaster) == 0)
        await wait_until(lambda: api.live.connection_count == 0)
