"""The SQL statements of an operation are listed for ADMINs of the platform only."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.enums import MemberRole
from schema.observability import sql_trace
from services.access.actor import Actor
from services.database.engine import create_pool
from tests.factories import World
from tests.schema.http.test_endpoint_requests import post, serving, signed

ASK = {"Commonweal-Explain": "1"}
BALANCES = {
    "query": "query($s: String!) { collective(slug: $s) { slug balances { currency } } }",
    "variables": {"s": "commonweal"},
}


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


async def sql(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    answer = (await post(client, body, **headers)).json()
    result: list[dict[str, Any]] = answer["extensions"]["sql"]
    return result


async def test_a_platform_admin_sees_the_statements_without_values(
    client: httpx.AsyncClient, shared: World
) -> None:
    result = await sql(client, BALANCES, **ASK, **signed(shared.admin))
    texts = [entry["statement"] for entry in result]
    assert [set(entry) for entry in result] == [{"statement", "ms"}] * len(result)
    assert all(entry["ms"] > 0 for entry in result)
    assert "token_hash = %(token_hash)s" in texts[0], "who asks is the first to be found"
    assert any("FROM ledger_account" in text for text in texts)
    assert any("collective.slug" in text and "%(" in text for text in texts)
    assert not any("commonweal'" in text or shared.admin.token in text for text in texts)


async def test_only_statements_of_the_operation_are_listed(client: httpx.AsyncClient, shared: World) -> None:
    headers = ASK | signed(shared.admin)
    tiny = await sql(client, {"query": "{ __typename }"}, **headers)
    assert len(tiny) == 1
    first, second = await sql(client, BALANCES, **headers), await sql(client, BALANCES, **headers)
    assert [entry["statement"] for entry in first] == [entry["statement"] for entry in second]


async def test_mutations_list_their_statements_without_secrets(
    client: httpx.AsyncClient, shared: World
) -> None:
    body = {
        "query": "mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }",
        "variables": {"i": {"email": "nobody@commonweal.test", "password": "very secret words"}},
    }
    result = await sql(client, body, **ASK, **signed(shared.admin))
    texts = " ".join(entry["statement"] for entry in result)
    assert "throttle" in texts, "also what is kept whatever becomes of the operation"
    assert "very secret words" not in texts
    assert "nobody@" not in texts


async def test_a_refused_mutation_lists_its_statements(client: httpx.AsyncClient, shared: World) -> None:
    mutation = (
        'mutation { updateCollective(input: {collective: {slug: "none"}, name: "x"}) { errors { code } } }'
    )
    result = await sql(client, {"query": mutation}, **ASK, **signed(shared.admin))
    assert len(result) >= 2


async def test_other_viewers_see_no_statements(client: httpx.AsyncClient, shared: World) -> None:
    ada = await shared.person("ada-explains")
    reader = await shared.person("reader")
    await shared.member(shared.platform, reader, MemberRole.ACCOUNTANT)
    for headers in (
        ASK,
        ASK | signed(ada),
        ASK | signed(reader),
        signed(shared.admin),
        ASK | signed("cws_unknown"),
        {"X-Commonweal-Explain": "1"} | signed(shared.admin),
    ):
        answer = await post(client, BALANCES, **headers)
        assert "extensions" not in answer.json()
        assert "SELECT" not in answer.text


async def test_a_document_that_cannot_run_has_no_statements(client: httpx.AsyncClient, shared: World) -> None:
    answer = await post(client, {"query": "{ nothing }"}, **ASK, **signed(shared.admin))
    assert "extensions" not in answer.json()


async def test_a_statement_that_fails_has_no_time(shared: World) -> None:
    engine = create_pool(shared.settings)
    sql_trace.listen(engine)
    sql_trace.begin({"commonweal-explain": "1"})
    sql_trace.authorize(
        Actor(platform_id=shared.platform.id, roles={shared.platform.id: frozenset({"ADMIN"})})
    )
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1 / :secret"), {"secret": 0})
    await engine.dispose()
    assert sql_trace.with_trace({"data": None}) == {
        "data": None,
        "extensions": {"sql": [{"statement": "SELECT 1 / %(secret)s", "ms": None}]},
    }
