"""The protocol graphql-transport-ws, frame by frame: every close code, and what a hostile client may try."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.donation_world import Scene
from tests.factories import World, money, of
from tests.subscription_client import Place, connected, serving, until

ME = "{ me { slug } }"
TOLD = "subscription($c: CollectiveRef!) { transactionPosted(collective: $c) { position } }"


@pytest.fixture(scope="module")
async def place(world: World) -> AsyncIterator[Place]:
    async with serving(world.settings, allowed_origins="https://friend.example, http://other:81") as place:
        yield place


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
async def test_4400_a_frame_that_is_no_message(place: Place, name: str) -> None:
    async with connected(place, known=False) as client:
        await client.raw(BAD_FRAMES[name])
        assert (await client.closed())[0] == 4400


@pytest.mark.parametrize("name", BAD_PAYLOADS)
async def test_4400_a_subscribe_that_is_no_request(place: Place, name: str) -> None:
    async with connected(place) as client:
        await client.say("subscribe", "1", BAD_PAYLOADS[name])
        assert (await client.closed())[0] == 4400


async def test_4401_subscribe_before_the_ack(place: Place) -> None:
    async with connected(place, known=False) as client:
        await client.subscribe(ME)
        assert await client.closed() == (4401, "Unauthorized")


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
async def test_4403_a_token_that_is_not_good(place: Place, payload: dict[str, Any]) -> None:
    async with connected(place, known=False) as client:
        await client.say("connection_init", payload=payload)
        assert (await client.closed())[0] == 4403


@pytest.mark.parametrize("offered", [["graphql-ws"], ["graphql-ws", "soap"], None], ids=str)
async def test_4406_no_other_subprotocol(place: Place, offered: list[Subprotocol] | None) -> None:
    async with connected(place, known=False, subprotocols=offered) as client:
        assert client.socket.subprotocol is None
        assert (await client.closed())[0] == 4406


async def test_4408_who_says_nothing_is_sent_away(world: World) -> None:
    async with serving(world.settings, live_init_seconds=1) as place:
        async with connected(place, known=False) as client:
            assert await client.closed() == (4408, "Connection initialisation timeout")
        async with connected(place, known=False) as client:
            await client.say("ping")
            assert await client.hear() == {"type": "pong"}
            assert (await client.closed())[0] == 4408, "a ping is no initialisation"
        async with connected(place) as client:
            await asyncio.sleep(1.2)
            await client.subscribe(ME)
            assert await client.next() == {"me": None}


async def test_4409_an_id_that_is_in_use(place: Place, scene: Scene) -> None:
    async with connected(place) as client:
        await client.subscribe(TOLD, c=of(scene.host))
        await client.subscribe(TOLD, c=of(scene.host))
        assert await client.closed() == (4409, "Subscriber for 1 already exists")


async def test_an_id_is_free_again_after_complete(place: Place, scene: Scene) -> None:
    async with connected(place) as client:
        for _ in range(3):
            await client.subscribe(TOLD, c=of(scene.host))
            await client.say("complete", "1")
            await client.subscribe(ME)
            assert await client.next() == {"me": None}
            assert await client.hear() == {"type": "complete", "id": "1"}
        await client.say("complete", "of nothing")
        await client.say("pong")
        await client.say("ping", payload={"a": 1})
        assert await client.hear() == {"type": "pong"}
    await until(lambda: len(place.live.hub) == 0)


async def test_4429_a_second_initialisation(place: Place) -> None:
    async with connected(place) as client:
        await client.say("connection_init")
        assert await client.closed() == (4429, "Too many initialisation requests")


async def test_4500_without_a_database_nobody_is_known(world: World) -> None:
    nowhere = {"database_url": "postgresql://nobody@127.0.0.1:1/nothing", "pool_size": 1}
    async with serving(world.settings, **nowhere) as away, connected(away, known=False) as client:
        await client.say("connection_init", payload={"token": "x"})
        assert (await client.closed())[0] == 4500


async def test_1009_a_frame_that_is_too_large(place: Place) -> None:
    async with connected(place) as client:
        await client.raw(orjson.dumps({"type": "ping", "payload": {"x": "y" * 300_000}}).decode())
        assert (await client.closed())[0] == 1009


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://evil", "", "https://friend.example.evil"]
)
async def test_a_page_of_another_site_may_not_connect(place: Place, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(place, origin=Origin(origin)):
            pass
    assert refused.value.response.status_code == 403


async def test_its_own_pages_and_those_listed_may_connect(place: Place) -> None:
    for origin in (f"http://{place.address}", "https://friend.example", "http://other:81", None):
        async with connected(place, origin=None if origin is None else Origin(origin)):
            pass


async def test_queries_and_mutations_run_as_over_http(place: Place, scene: Scene) -> None:
    donate = "mutation($i: DonateInput!) { donate(input: $i) { order { status } errors { code } } }"
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    async with connected(place, scene.giver.token) as client:
        await client.subscribe(ME, "a")
        assert await client.next("a") == {"me": {"slug": scene.giver.slug}}
        assert await client.hear() == {"type": "complete", "id": "a"}
        await client.subscribe(donate, "b", i=given)
        assert await client.next("b") == {"donate": {"order": {"status": "PAID"}, "errors": []}}
        assert await client.hear() == {"type": "complete", "id": "b"}
        for bad in (
            "{",
            "{ nothing }",
            "subscription { orderChanged }",
            "query A { me { id } } query B { me { id } }",
        ):
            await client.subscribe(bad, "c")
            assert await client.error("c") == "BAD_REQUEST"
        two = TOLD.replace("{ t", "{ a: balanceChanged(collective: $c) { position } t", 1)
        await client.subscribe(two, "c", c=of(scene.webpack))
        assert await client.error("c") == "BAD_REQUEST"
        await client.subscribe(TOLD, "c", c={"id": 1.5})
        assert await client.error("c") == "BAD_REQUEST"


async def test_a_token_of_the_upgrade_serves_as_well(place: Place, scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {scene.giver.token}"}
    async with connected(place, additional_headers=headers) as client:
        await client.subscribe(ME)
        assert await client.next() == {"me": {"slug": scene.giver.slug}}
    async with connected(place, known=False, additional_headers={"Authorization": "Basic eA=="}) as client:
        await client.say("connection_init")
        assert (await client.closed())[0] == 4403


async def test_documents_are_named_by_their_hash(place: Place, scene: Scene) -> None:
    text = TOLD + " # by its hash"
    hashed = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}
    async with connected(place) as client:
        asked = {"extensions": hashed, "variables": {"c": of(scene.host)}}
        await client.say("subscribe", "1", asked)
        assert await client.error() == "PERSISTED_QUERY_NOT_FOUND"
        await client.say("subscribe", "1", asked | {"query": text})
        await client.say("subscribe", "2", asked)
        await until(lambda: len(place.live.hub) == 2)


async def test_a_connection_runs_so_many_operations_at_once(place: Place, scene: Scene) -> None:
    async with connected(place) as client:
        for number in range(21):
            await client.subscribe(TOLD, str(number), c=of(scene.host))
        assert await client.error("20") == "LIMIT_EXCEEDED"
        await client.say("complete", "0")
        await client.subscribe(ME, "20")
        assert await client.next("20") == {"me": None}


async def test_too_many_connections_are_refused(world: World) -> None:
    async with serving(world.settings, live_connections_per_address=2) as place:
        async with connected(place), connected(place) as second:
            await refused_429(place)
            await second.socket.close()
            await until(lambda: place.live.open == 1)
            async with connected(place):
                pass
        await until(lambda: place.live.open == 0)
    async with serving(world.settings, live_connections=1) as place, connected(place):
        await refused_429(place)


async def refused_429(place: Place) -> None:
    """Assert that nobody else may connect."""
    with pytest.raises(InvalidStatus) as refused:
        async with connected(place):
            pass
    assert refused.value.response.status_code == 429


async def test_1012_who_follows_is_told_that_the_server_stops(world: World, scene: Scene) -> None:
    async with serving(world.settings) as place, connected(place) as client, connected(place) as idle:
        await client.subscribe(TOLD, c=of(scene.host))
        await until(lambda: len(place.live.hub) == 1)
        place.server.should_exit = True
        assert (await client.closed())[0] == 1012
        assert (await idle.closed())[0] == 1012


async def test_a_client_that_vanishes_leaves_nothing_running(place: Place, scene: Scene) -> None:
    async with connected(place) as client:
        await client.subscribe(TOLD, c=of(scene.host))
        await until(lambda: len(place.live.hub) == 1)
        client.socket.transport.abort()
        await until(lambda: len(place.live.hub) == 0)
        await until(lambda: place.live.open == 0)
