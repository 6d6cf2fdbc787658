"""Attacks known from security scanners. `docs/limits.md` lists the tests of the others."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from schema.documents import document_limits
from schema.observability import logs
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from tests.factories import World, in_production
from tests.schema.http.test_endpoint_requests import JSON, post, serving, signed

TYPENAME = {"data": {"__typename": "Query"}}


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(in_production(shared.settings, introspection="off")) as client:
        yield client


# --- the twelve questions of graphql-cop; to each, the answer that finds no hole ---


@pytest.mark.parametrize(
    "query",
    [
        "query cop { " + " ".join(f"alias{i}: __typename" for i in range(101)) + " }",
        "query cop { __typename" + " \n__typename" * 500 + " }",
        "query { __typename " + "@aa" * 10 + " }",
        "query cop { __schema { types { " + "fields { type { " * 4 + "name" + " } } " * 4 + "} } }",
        "query cop { __schema { directive }}",
        "query cop { __schema { types { name } } }",
    ],
)
async def test_the_queries_of_graphql_cop_are_refused_without_details(
    client: httpx.AsyncClient, query: str
) -> None:
    answer = (await post(client, {"query": query, "operationName": "cop"})).json()
    assert "data" not in answer
    assert 1 <= len(answer["errors"]) < 10
    assert "Did you mean" not in str(answer)
    assert "Traceback" not in str(answer)


async def test_graphql_cop_gets_no_batch_no_get_and_no_form(client: httpx.AsyncClient) -> None:
    query = "query cop { __typename }"
    batch = [{"query": query, "operationName": "cop"}] * 10
    get = await client.get("/graphql", params={"query": query, "operationName": "cop"})
    mutation = await client.get("/graphql", params={"query": "mutation cop { __typename }"})
    form = await client.post("/graphql", data={"query": query, "operationName": "cop"})
    for answer in (await post(client, batch), get, mutation, form):
        assert 400 <= answer.status_code < 500
        assert answer.json().keys() == {"errors"}
    assert (await post(client, {"query": query, "operationName": "cop"})).json() == TYPENAME


# --- what is written down ---


@pytest.mark.parametrize(
    "name", ['x\n{"level": "INFO", "message": "forged"}', "a b", "é", "x\r", "\u2028", "a\x1b[31m", "1a"]
)
async def test_an_invalid_operation_name_is_not_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await post(client, {"query": "query Good { __typename }", "operationName": name})
        assert "errors" in answer.json()
        assert (
            await post(client, {"query": "query Good { __typename }", "operationName": "Good"})
        ).json() == (TYPENAME)
    records = [record for record in caplog.records if record.message == "operation"]
    assert [getattr(record, "operation", "") for record in records] == [None, "Good"]
    for record in records:
        line = logs.JsonFormatter().format(record)
        assert orjson.loads(line)["message"] == "operation"
        assert "\n" not in line


async def test_a_long_name_is_refused(client: httpx.AsyncClient) -> None:
    for length, status in ((100, 200), (101, 400)):
        body = {"query": f"query {'a' * length} {{ __typename }}", "operationName": "a" * length}
        assert (await post(client, body)).status_code == status


# --- texts that would be code elsewhere ---


@pytest.mark.parametrize(
    "text",
    [
        "' OR 1=1 --",
        '"; DROP TABLE collective; --',
        "\\",
        "%",
        "_",
        "$1",
        "'||pg_sleep(5)||'",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "{{7*7}}",
        "%s%s%n",
        "; cat /etc/passwd",
    ],
)
async def test_the_query_must_be_a_string(shared: World, text: str) -> None:
    query = (
        "query($t: String!) { a: collectives(filter: {search: $t}) { totalCount } "
        "b: collectives(filter: {tag: $t}) { totalCount } collective(slug: $t) { id } "
        "offers(filter: {search: $t}) { totalCount } }"
    )
    body = await shared.execute(query, t=text)
    assert "errors" not in body, body
    assert (body["data"]["a"]["totalCount"], body["data"]["collective"]) == (0, None)
    assert (await shared.query('{ collective(slug: "commonweal") { slug } }'))["collective"] is not None


# --- settings that cannot be ---


@pytest.mark.parametrize(
    "settings",
    [
        {"introspection": "maybe"},
        {"max_cost": 0},
        {"rate_capacity": 0},
        {"rate_restore_per_second": 0},
        {"execution_timeout_ms": 0},
        {"body_timeout_ms": -1},
        {"max_cost": 200_000},
    ],
)
def test_an_invalid_limit_stops_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_"):
        replace(Settings(), **settings)


async def test_an_operation_may_try_one_password(client: httpx.AsyncClient, shared: World) -> None:
    field = 'signIn(input: {email: "a@commonweal.test", password: "x"}) { errors { code } }'
    counted = "SELECT count(*) FROM throttle"
    before = await shared.scalar(counted)
    many = " ".join(f"a{i}: {field}" for i in range(20))
    answer = await post(client, {"query": f"mutation {{ {many} }}"}, **signed(shared.admin))
    assert answer.json()["errors"][0]["extensions"] == {"code": document_limits.CODE}
    assert await shared.scalar(counted) == before
    one = await client.post(
        "/graphql", content=orjson.dumps({"query": f"mutation {{ {field} }}"}), headers=JSON
    )
    assert one.json()["data"]["signIn"]["errors"] == [{"code": "INVALID_INPUT"}]
    assert await shared.scalar(counted) > before
