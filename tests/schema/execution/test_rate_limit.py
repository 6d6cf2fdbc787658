"""Points: what a user or an address may spend, however many processes serve them."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.access import rate_limits
from services.access.rate_limits import Buckets, InsufficientPoints
from services.core import networks
from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Database
from tests.factories import World, in_production
from tests.schema.http.test_endpoint_requests import post, serving, signed, the_code

ME = {"query": "{ me { id } }"}
LIST = {"query": "{ collectives(first: 50) { nodes { id host { id } } } }"}
ASK = {"query": "{ rateLimit { cost limit remaining used resetAt } me { id } }"}


def limited(settings: Settings, capacity: int, restore: int = 1) -> Settings:
    """Return settings with a small bucket."""
    return replace(settings, rate_capacity=capacity, rate_restore_per_second=restore, max_cost=capacity)


@asynccontextmanager
async def processes(settings: Settings, count: int) -> AsyncIterator[list[Buckets]]:
    """Return the buckets of several server processes, which share only the database."""
    async with AsyncExitStack() as stack:
        results = []
        for _ in range(count):
            engine: AsyncEngine = database_engine.create_pool(settings)
            stack.push_async_callback(engine.dispose)
            results.append(Buckets(database_engine.session_factory(engine), settings))
        yield results


async def spent(buckets: Buckets, cost: int, *, tries: int, address: str = "192.0.2.1") -> int:
    """Try to spend; return how many points were had."""
    had = 0
    for _ in range(tries):
        try:
            await buckets.reserve(address, cost)
            had += cost
        except InsufficientPoints:
            pass
    return had


@pytest.mark.parametrize("count", [1, 4])
async def test_several_processes_share_one_bucket(database: Database, count: int) -> None:
    capacity, restore = 2_000, 50
    async with processes(limited(database.settings, capacity, restore), count) as all_of_them:
        started = time.monotonic()
        had = sum(await asyncio.gather(*(spent(one, 7, tries=400) for one in all_of_them)))
        seconds = time.monotonic() - started
    assert had <= capacity + restore * seconds
    # Little is left lying with a process that does not spend it.
    assert had >= min(capacity, count * 400 * 7) * 0.8


async def test_refunded_points_are_available_again_up_to_the_capacity(database: Database) -> None:
    capacity = 1_000
    async with processes(limited(database.settings, capacity), 2) as (one, other):
        started = time.monotonic()
        net = 0
        for buckets in (one, other) * 40:
            try:
                charge = await buckets.reserve("192.0.2.1", 100)
            except InsufficientPoints:
                continue
            charge.refund_unused(20)
            charge.refund_unused(0)  # once is enough
            net += 20
        assert 500 <= net <= capacity + (time.monotonic() - started)


async def test_leased_points_are_spent_without_the_database(database: Database) -> None:
    async with processes(limited(database.settings, 100_000, 5_000), 1) as (buckets,):
        await buckets.reserve("192.0.2.1", 1)
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("ALTER TABLE rate_bucket RENAME TO away")
            started = time.process_time()
            assert await spent(buckets, 1, tries=2_000) == 2_000
            assert time.process_time() - started < 2_000 * 50e-6
            owner.execute("ALTER TABLE away RENAME TO rate_bucket")


async def test_without_the_database_each_bucket_gets_a_small_allowance(database: Database) -> None:
    async with processes(limited(database.settings, 10_000), 1) as (buckets,):
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("DROP TABLE rate_bucket")
        started = time.monotonic()
        assert await spent(buckets, 10, tries=100) == 1_000
        assert time.monotonic() - started > 1


async def test_an_empty_bucket_refills(database: Database) -> None:
    async with processes(limited(database.settings, 100, 200), 1) as (buckets,):
        assert await spent(buckets, 100, tries=1) == 100
        with pytest.raises(InsufficientPoints) as refused:
            await buckets.reserve("192.0.2.1", 100)
        assert refused.value.retry_after_seconds == 1
        assert await spent(buckets, 1, tries=1, address="192.0.2.2") == 1
        await asyncio.sleep(0.6)
        assert await spent(buckets, 100, tries=1) == 100


async def test_the_number_of_remembered_addresses_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_LEASES", 50)
    settings = limited(database.settings, 1_000, 100_000)
    async with processes(settings, 1) as (buckets,):
        assert await buckets.bucket_key(token=None, address="") is None
        for i in range(120):
            assert await spent(buckets, 1, tries=1, address=f"192.0.2.{i}") == 1
        assert len(buckets) == 50
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            assert owner.execute("SELECT count(*) FROM rate_bucket").fetchone() == (120,)
            owner.execute("UPDATE rate_bucket SET at = at - interval '11 seconds'")
            engine = database_engine.create_pool(settings)
            async with database_engine.session_factory(engine).begin() as session:
                await rate_limits.delete_full_buckets(session, settings=settings)
            await engine.dispose()
            assert owner.execute("SELECT count(*) FROM rate_bucket").fetchone() == (0,)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("test", "test"),
        ("x" * 300, "x" * 100),
    ],
)
def test_ipv6_addresses_are_counted_by_network(address: str, network: str) -> None:
    assert networks.normalize_address(address) == network


# --- over HTTP ---


async def test_exceeding_the_bucket_is_429_with_retry_after(world: World) -> None:
    async with serving(limited(world.settings, 300)) as client:
        first = await post(client, LIST)
        assert first.status_code == 200
        last = first
        for _ in range(400):
            if (last := await post(client, LIST)).status_code != 200:
                break
        assert (last.status_code, the_code(last), "data" in last.json()) == (429, "RATE_LIMITED", False)
        assert 1 <= int(last.headers["retry-after"]) <= 101
        assert int(last.headers["ratelimit-limit"]) == 300
        assert int(last.headers["ratelimit-remaining"]) < 101
        assert last.headers["content-type"].startswith("application/json")
        # The refused request took nothing, and others have their own.
        assert (await post(client, LIST, **signed(world.admin))).status_code == 200


async def test_every_response_has_the_remaining_points(world: World) -> None:
    async with serving(limited(world.settings, 1_000)) as client:
        left = []
        answers = [await post(client, LIST) for _ in range(3)]
        for answer in answers:
            assert (answer.headers["ratelimit-limit"], answer.json().keys()) == ("1000", {"data"})
            left.append(int(answer.headers["ratelimit-remaining"]))
            assert 0 <= 1_000 - left[-1] - int(answer.headers["ratelimit-reset"]) <= 1
        used = 1 + sum(1 + (n["host"] is not None) for n in answers[0].json()["data"]["collectives"]["nodes"])
        assert left[0] - left[2] in {2 * used, 2 * used - 1}  # a point comes back each second


async def test_the_rate_limit_field_has_the_remaining_points(world: World) -> None:
    async with serving(limited(world.settings, 1_000)) as client:
        answer = (await post(client, ASK)).json()
        rate_limit = answer["data"]["rateLimit"]
        assert (rate_limit["cost"], rate_limit["limit"], rate_limit["remaining"], rate_limit["used"]) == (
            1,
            1_000,
            999,
            1,
        )
        assert rate_limit["resetAt"] > "2"
        assert answer["extensions"]["cost"]["requestedQueryCost"] == 1
        assert answer["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 999
    assert (await world.query("{ rateLimit { cost } }")) == {"rateLimit": None}


async def test_a_statement_tells_the_remaining_points_of_its_own_operation(world: World) -> None:
    """What is met again is written by PostgreSQL, with the points of the moment."""
    async with serving(limited(world.settings, 1_000)) as client:
        told = [(await post(client, ASK)).json()["data"]["rateLimit"] for _ in range(4)]
    for number, rate_limit in enumerate(told, 1):
        assert rate_limit["remaining"] in {1_000 - number, 1_001 - number}  # a point comes back each second
        assert (rate_limit["cost"], rate_limit["remaining"] + rate_limit["used"]) == (1, 1_000)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", rate_limit["resetAt"])


async def test_all_tokens_of_a_user_share_a_bucket(world: World) -> None:
    other = await world.access_token(world.admin, "READ")
    async with serving(limited(world.settings, 1_000)) as client:
        for headers, left in ((signed(world.admin), 999), (signed(other), 998), ({}, 999)):
            answer = await post(client, ASK, **headers)
            assert answer.json()["data"]["rateLimit"]["remaining"] == left
        # A token that is nobody's is paid for by the address.
        bad = await post(client, ME, **signed("nobody's"))
        assert (bad.status_code, bad.headers["ratelimit-remaining"]) == (401, "998")


async def test_a_refused_document_costs_points(world: World) -> None:
    async with serving(limited(world.settings, 1_000)) as client:
        statuses = [(await post(client, {"query": "{ nothing }"})).status_code for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2


async def test_parsing_a_long_document_costs_points_once(world: World) -> None:
    query = {"query": "{ me { id } } " + "# " + "x" * 986}
    async with serving(limited(world.settings, 1_000)) as client:
        left = [int((await post(client, query)).headers["ratelimit-remaining"]) for _ in range(3)]
        assert left[0] <= 1_000 - 11 + 1
        assert left[1] - left[2] <= 1
        wrong = await post(client, query | {"operationName": "Unknown"})
        assert int(wrong.headers["ratelimit-remaining"]) <= left[2]


async def test_many_small_requests_stay_within_the_bucket(world: World) -> None:
    body = {"query": "{ __typename }"}
    async with serving(limited(world.settings, 150)) as client:
        started = time.monotonic()
        answers = [await post(client, body) for _ in range(400)]
        seconds = time.monotonic() - started
        good = sum(answer.status_code == 200 for answer in answers)
        assert 150 <= good <= 150 + seconds + 1
        assert {answer.status_code for answer in answers} == {200, 429}
        assert answers[150 + int(seconds) + 1].status_code == 429
        # The server answers others meanwhile.
        assert (await post(client, body, **signed(world.admin))).status_code == 200
        assert (await client.get("/healthz")).status_code == 200


async def test_two_servers_share_a_bucket(world: World) -> None:
    settings = limited(world.settings, 200)
    async with serving(settings) as one, serving(settings) as other:
        started = time.monotonic()
        answers = [await post(client, ME) for _ in range(150) for client in (one, other)]
        seconds = time.monotonic() - started
    good = sum(answer.status_code == 200 for answer in answers)
    assert 180 <= good <= 200 + seconds + 1


async def test_a_timeout_costs_the_full_price(world: World, database: Database) -> None:
    settings = replace(limited(world.settings, 1_000), execution_timeout_ms=1_000)
    async with serving(settings) as client:
        async with await psycopg.AsyncConnection.connect(database.owner_url) as owner:
            await owner.execute("LOCK TABLE collective IN ACCESS EXCLUSIVE MODE")
            answer = await post(client, LIST)
        assert the_code(answer) == "TIMEOUT"
        assert int(answer.headers["ratelimit-remaining"]) <= 1_000 - 101 + 1


# --- what the schema tells ---

GUESSES = [
    "{ collectve { id } }",
    '{ collective(slg: "a") { id } }',
    "{ collectives(filter: { typ: USER }) { totalCount } }",
    "{ leaderboard(by: VOLUNTER) { rank } }",
    "{ me { ... on Usr { id } } }",
    "mutation { signn { errors { code } } }",
    "mutation($i: SignInInputt!) { signIn(input: $i) { errors { code } } }",
    "{ collectives(filter: { type: [USR] }) { totalCount } }",
    'mutation { signIn(input: { emal: "a" }) { errors { code } } }',
    "{ me }",
]


@pytest.mark.parametrize("query", GUESSES)
async def test_hidden_suggestions_do_not_appear_in_errors(world: World, query: str) -> None:
    async with serving(in_production(world.settings)) as client:
        hidden = (await post(client, {"query": query})).text
    async with serving(world.settings) as client:
        output = (await post(client, {"query": query})).text
    assert "Did you mean" not in hidden
    assert "errors" in orjson.loads(hidden)
    assert "Did you mean" in output or query == "{ leaderboard(by: VOLUNTER) { rank } }"


@pytest.mark.parametrize("introspection", ["off", "authenticated"])
async def test_without_introspection_nothing_is_suggested(world: World, introspection: str) -> None:
    async with serving(replace(world.settings, introspection=introspection)) as client:
        for query in GUESSES:
            assert "Did you mean" not in (await post(client, {"query": query})).text


async def test_suggestions_for_variables_are_hidden_too(world: World) -> None:
    query = """query($f: CollectiveFilter, $l: LeaderboardBy!) {
        collectives(filter: $f) { totalCount } leaderboard(by: $l) { rank } }"""
    variables: dict[str, Any] = {"f": {"serch": "a"}, "l": "VOLUNTEERS"}
    body = {"query": query, "variables": variables}
    async with serving(replace(world.settings, hide_suggestions=True)) as client:
        hidden = (await post(client, body)).text
    assert "Did you mean" not in hidden
    assert "search" not in hidden
    assert "Did you mean" in str(await world.execute(query, **variables))


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { name } } }",
        '{ a: __type(name: "User") { name } }',
        "{ ...f } fragment f on Query { __schema { types { name } } }",
    ],
)
async def test_introspection_follows_its_setting(world: World, query: str) -> None:
    async def code(client: httpx.AsyncClient, **headers: str) -> str | None:
        answer = await post(client, {"query": query}, **headers)
        return the_code(answer) if "errors" in answer.json() else None

    for setting, anonymous, known in (
        ("on", None, None),
        ("authenticated", "UNAUTHENTICATED", None),
        ("off", "FORBIDDEN", "FORBIDDEN"),
    ):
        async with serving(replace(world.settings, introspection=setting)) as client:
            assert await code(client) == anonymous
            assert await code(client, **signed(world.admin)) == known
            if setting == "authenticated":
                assert await code(client, **signed("nobody's")) == "UNAUTHENTICATED"
            assert (await post(client, {"query": "{ __typename }"})).json() == {
                "data": {"__typename": "Query"}
            }
