"""GraphQL as server-sent events: one connection an operation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from schema.realtime import sse
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, public_id, ref, unused_id
from tests.subscription_client import POSITION, WAIT_SECONDS, ApiServer, serve_in_process, wait_until

ME = "{ me { slug } }"
TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
        yield client


class Stream:
    """The events of one answer, as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """Return the name and the data of the next event; comments are passed over."""
        name, data = "", ""
        async with asyncio.timeout(WAIT_SECONDS):
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
        async with asyncio.timeout(WAIT_SECONDS):
            return await anext(self._lines)


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient,
    api: ApiServer,
    query: str,
    *,
    by: Person | str | None = None,
    accept: str = "text/event-stream",
    **variables: Any,
) -> AsyncIterator[Stream]:
    """Request a stream."""
    token = by.token if isinstance(by, Person) else by
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = {"query": query, "variables": variables}
    async with client.stream("POST", api.url, json=body, headers=headers) as answer:
        yield Stream(answer)


async def test_a_query_and_a_mutation_send_one_event_and_complete(
    client: httpx.AsyncClient, api: ApiServer, scene: DonationScene
) -> None:
    donate = "mutation($i: DonateInput!) { donate(input: $i) { order { status } errors { code } } }"
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    async with streamed(client, api, ME, by=scene.giver) as stream:
        assert stream.answer.status_code == 200
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert stream.answer.headers["cache-control"] == "no-store"
        assert "content-length" not in stream.answer.headers
        assert await stream.next() == ("next", {"data": {"me": {"slug": scene.giver.slug}}})
        assert await stream.next() == ("complete", None)
        assert await stream.next() == ("end", None)
    async with streamed(client, api, donate, by=scene.giver, i=arguments) as stream:
        answer = {"data": {"donate": {"order": {"status": "PAID"}, "errors": []}}}
        assert await stream.next() == ("next", answer)
        assert await stream.next() == ("complete", None)


async def test_a_subscription_streams_its_events(
    client: httpx.AsyncClient, api: ApiServer, scene: DonationScene
) -> None:
    after = (await scene.world.query(POSITION))["livePosition"]
    async with streamed(client, api, TOLD, c=ref(scene.host), after=after) as stream:
        for value in ("1.00", "2.00"):
            await scene.world.fund(scene.host, value, by=scene.holder)
            name, body = await stream.next()
            transaction_posted = body["data"]["transactionPosted"]
            assert (name, transaction_posted["transaction"]["amount"]["value"]) == ("next", value)
            after = transaction_posted["position"]
    await wait_until(lambda: api.live.connection_count == 0 and len(api.live.broadcaster) == 0)
    await scene.world.fund(scene.host, "3.00", by=scene.holder)
    async with streamed(client, api, TOLD, c=ref(scene.host), after=after) as stream:
        _, body = await stream.next()
        assert body["data"]["transactionPosted"]["transaction"]["amount"]["value"] == "3.00"


@pytest.mark.parametrize("query", ["{", "{ nothing }", "query A { me { id } } query B { me { id } }"])
async def test_an_invalid_document_is_reported_in_the_stream(
    client: httpx.AsyncClient, api: ApiServer, query: str
) -> None:
    async with streamed(client, api, query) as stream:
        name, body = await stream.next()
        assert (name, body["errors"][0]["extensions"]["code"], "data" in body) == (
            "next",
            "BAD_REQUEST",
            False,
        )
        assert await stream.next() == ("complete", None)


async def test_a_subscription_to_a_missing_object_is_refused(
    client: httpx.AsyncClient, api: ApiServer
) -> None:
    nobody = {"id": public_id("Collective", unused_id())}
    async with streamed(client, api, TOLD, c=nobody) as stream:
        _, body = await stream.next()
        assert body["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert await stream.next() == ("complete", None)


async def test_an_invalid_token_is_refused(
    client: httpx.AsyncClient, api: ApiServer, scene: DonationScene
) -> None:
    async with streamed(client, api, TOLD, by="nonsense", c=ref(scene.host)) as stream:
        _, body = await stream.next()
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_malformed_request_is_refused_without_a_stream(
    client: httpx.AsyncClient, api: ApiServer
) -> None:
    answer = await client.post(api.url, content=b"[", headers=STREAM | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (400, "application/json")


async def test_without_event_streams_a_subscription_is_refused(
    client: httpx.AsyncClient, api: ApiServer, scene: DonationScene
) -> None:
    body = {"query": TOLD, "variables": {"c": ref(scene.host)}}
    for accept, status in (("application/json", 200), ("application/graphql-response+json", 400)):
        answer = await client.post(api.url, json=body, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (
            status,
            "BAD_REQUEST",
        )
        assert "data" not in answer.json()
    results = {"query": 'subscription { orderChanged(id: "1") { position } }'}
    answer = await client.get(api.url, params=results, headers={"Commonweal-Preflight": "1"})
    assert answer.status_code == 405


async def test_json_is_preferred_for_a_single_result(client: httpx.AsyncClient, api: ApiServer) -> None:
    both = "application/json, text/event-stream"
    answer = await client.post(api.url, json={"query": ME}, headers={"Accept": both})
    assert answer.json() == {"data": {"me": None}}
    liked = "application/json;q=0.5, text/event-stream"
    answer = await client.post(api.url, json={"query": ME}, headers={"Accept": liked})
    assert answer.text == ':\n\nevent: next\ndata: {"data":{"me":null}}\n\nevent: complete\ndata:\n\n'


async def test_an_idle_stream_is_kept_alive(
    client: httpx.AsyncClient, api: ApiServer, scene: DonationScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    async with streamed(client, api, TOLD, c=ref(scene.host)) as stream:
        for _ in range(4):
            assert (await stream.line(), await stream.line()) == (":", "")


async def test_too_many_streams_are_refused(
    client: httpx.AsyncClient, world: World, scene: DonationScene
) -> None:
    async with serve_in_process(world.settings, live_connections_per_address=1) as api:
        async with (
            streamed(client, api, TOLD, c=ref(scene.host)),
            streamed(client, api, ME) as second,
        ):
            assert second.answer.status_code == 429
        await wait_until(lambda: api.live.connection_count == 0)
        async with streamed(client, api, ME) as stream:
            assert (await stream.next())[0] == "next"


async def test_a_stopping_server_ends_streams_without_complete(
    client: httpx.AsyncClient, world: World, scene: DonationScene
) -> None:
    async with (
        serve_in_process(world.settings) as api,
        streamed(client, api, TOLD, c=ref(scene.host)) as stream,
    ):
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        api.server.should_exit = True
        assert await stream.next() == ("end", None)
