"""GraphQL as server-sent events: one connection an operation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from schema.realtime import sse
from tests.donation_world import Scene
from tests.factories import Person, World, fresh, money, of, public_id
from tests.subscription_client import POSITION, SECONDS, Place, serving, until

ME = "{ me { slug } }"
TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
        yield client


class Stream:
    """The events of one answer, as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """Return the name and the data of the next event; comments are passed over."""
        name, data = "", ""
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                if line.startswith("event:"):
                    name = line.partition(":")[2].strip()
                elif line.startswith("data:"):
                    data = line.partition(":")[2].strip()
                elif not line and name:
                    return name, orjson.loads(data) if data else None
        return "end", None

    async def line(self) -> str:
        """Return the next line."""
        async with asyncio.timeout(SECONDS):
            return await anext(self._lines)


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient,
    place: Place,
    query: str,
    *,
    by: Person | str | None = None,
    accept: str = "text/event-stream",
    **variables: Any,
) -> AsyncIterator[Stream]:
    """Ask for a stream."""
    token = by.token if isinstance(by, Person) else by
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = {"query": query, "variables": variables}
    async with client.stream("POST", place.url, json=body, headers=headers) as answer:
        yield Stream(answer)


async def test_a_query_and_a_mutation_are_one_event_and_the_end(
    client: httpx.AsyncClient, place: Place, scene: Scene
) -> None:
    donate = "mutation($i: DonateInput!) { donate(input: $i) { order { status } errors { code } } }"
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    async with streamed(client, place, ME, by=scene.giver) as stream:
        assert stream.answer.status_code == 200
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert stream.answer.headers["cache-control"] == "no-store"
        assert "content-length" not in stream.answer.headers
        assert await stream.next() == ("next", {"data": {"me": {"slug": scene.giver.slug}}})
        assert await stream.next() == ("complete", None)
        assert await stream.next() == ("end", None)
    async with streamed(client, place, donate, by=scene.giver, i=given) as stream:
        answer = {"data": {"donate": {"order": {"status": "PAID"}, "errors": []}}}
        assert await stream.next() == ("next", answer)
        assert await stream.next() == ("complete", None)


async def test_a_subscription_is_told_event_by_event(
    client: httpx.AsyncClient, place: Place, scene: Scene
) -> None:
    after = (await scene.world.ask(POSITION))["livePosition"]
    async with streamed(client, place, TOLD, c=of(scene.host), after=after) as stream:
        for value in ("1.00", "2.00"):
            await scene.world.fund(scene.host, value, by=scene.holder)
            name, body = await stream.next()
            told = body["data"]["transactionPosted"]
            assert (name, told["transaction"]["amount"]["value"]) == ("next", value)
            after = told["position"]
    await until(lambda: place.live.open == 0 and len(place.live.hub) == 0)
    await scene.world.fund(scene.host, "3.00", by=scene.holder)
    async with streamed(client, place, TOLD, c=of(scene.host), after=after) as stream:
        _, body = await stream.next()
        assert body["data"]["transactionPosted"]["transaction"]["amount"]["value"] == "3.00"


@pytest.mark.parametrize("query", ["{", "{ nothing }", "query A { me { id } } query B { me { id } }"])
async def test_a_document_that_cannot_run_is_told_so_in_the_stream(
    client: httpx.AsyncClient, place: Place, query: str
) -> None:
    async with streamed(client, place, query) as stream:
        name, body = await stream.next()
        assert (name, body["errors"][0]["extensions"]["code"], "data" in body) == (
            "next",
            "BAD_REQUEST",
            False,
        )
        assert await stream.next() == ("complete", None)


async def test_what_is_not_there_has_no_stream(client: httpx.AsyncClient, place: Place) -> None:
    nobody = {"id": public_id("Collective", fresh())}
    async with streamed(client, place, TOLD, c=nobody) as stream:
        _, body = await stream.next()
        assert body["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert await stream.next() == ("complete", None)


async def test_a_token_that_is_not_good_is_told_so(
    client: httpx.AsyncClient, place: Place, scene: Scene
) -> None:
    async with streamed(client, place, TOLD, by="nonsense", c=of(scene.host)) as stream:
        _, body = await stream.next()
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_malformed_request_is_refused_as_ever(client: httpx.AsyncClient, place: Place) -> None:
    answer = await client.post(place.url, content=b"[", headers=STREAM | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (400, "application/json")


async def test_without_event_streams_a_subscription_is_refused(
    client: httpx.AsyncClient, place: Place, scene: Scene
) -> None:
    body = {"query": TOLD, "variables": {"c": of(scene.host)}}
    for accept, status in (("application/json", 200), ("application/graphql-response+json", 400)):
        answer = await client.post(place.url, json=body, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (
            status,
            "BAD_REQUEST",
        )
        assert "data" not in answer.json()
    asked = {"query": 'subscription { orderChanged(id: "1") { position } }'}
    answer = await client.get(place.url, params=asked, headers={"Commonweal-Preflight": "1"})
    assert answer.status_code == 405


async def test_json_is_preferred_for_what_has_one_answer(client: httpx.AsyncClient, place: Place) -> None:
    both = "application/json, text/event-stream"
    answer = await client.post(place.url, json={"query": ME}, headers={"Accept": both})
    assert answer.json() == {"data": {"me": None}}
    liked = "application/json;q=0.5, text/event-stream"
    answer = await client.post(place.url, json={"query": ME}, headers={"Accept": liked})
    assert answer.text == ':\n\nevent: next\ndata: {"data":{"me":null}}\n\nevent: complete\ndata:\n\n'


async def test_a_stream_is_kept_alive_while_nothing_happens(
    client: httpx.AsyncClient, place: Place, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    async with streamed(client, place, TOLD, c=of(scene.host)) as stream:
        for _ in range(4):
            assert (await stream.line(), await stream.line()) == (":", "")


async def test_too_many_streams_are_refused(client: httpx.AsyncClient, world: World, scene: Scene) -> None:
    async with serving(world.settings, live_connections_per_address=1) as place:
        async with (
            streamed(client, place, TOLD, c=of(scene.host)),
            streamed(client, place, ME) as second,
        ):
            assert second.answer.status_code == 429
        await until(lambda: place.live.open == 0)
        async with streamed(client, place, ME) as stream:
            assert (await stream.next())[0] == "next"


async def test_when_the_server_stops_a_stream_ends_without_complete(
    client: httpx.AsyncClient, world: World, scene: Scene
) -> None:
    async with serving(world.settings) as place, streamed(client, place, TOLD, c=of(scene.host)) as stream:
        await until(lambda: len(place.live.hub) == 1)
        place.server.should_exit = True
        assert await stream.next() == ("end", None)
