"""Which queries are planned, and what becomes of the others."""

from typing import Any

import pytest

from schema.build import schema
from schema.execution import unit_of_work
from schema.execution.unit_of_work import OperationRequest, OperationResult
from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Database
from tests.factories import World


async def run_query(world: World, query: str, **variables: Any) -> OperationResult:
    result = await unit_of_work.execute(
        OperationRequest(query=query, variables=variables, address="test"),
        sessions=world.sessions,
        settings=world.settings,
    )
    result.body = result.plain_body()
    return result


def test_nothing_stands_between_a_field_and_its_resolver() -> None:
    built = schema()
    assert built.directives in ((), []) or not any(d.resolver for d in built.directives)
    for extension in built.extensions:
        created = extension if isinstance(extension, type) else type(extension)
        assert "resolve" not in vars(created)


async def test_queries_are_planned_and_introspection_is_not(world: World) -> None:
    assert (await run_query(world, "{ me { id } currencies { code } }")).is_sql_json
    assert (await run_query(world, "query($a: Boolean!) { me @skip(if: $a) { id } }", a=True)).body == {
        "data": {}
    }
    for text in ("{ __schema { queryType { name } } }", "mutation { signOut { errors { code } } }"):
        assert not (await run_query(world, text)).is_sql_json


async def test_errors_are_told_by_graphql_core_with_their_paths(world: World) -> None:
    answer = await run_query(world, '{ c: currencies { code } bad: node(id: "nothing") { id } }')
    assert not answer.is_sql_json
    assert [error["path"] for error in answer.body["errors"]] == [["bad"]]
    assert answer.body["data"]["bad"] is None
    assert answer.body["data"]["c"]
    wrong = await run_query(world, "query($n: Int!) { collectives(first: $n) { totalCount } }", n="many")
    assert wrong.is_request_error
    assert "data" not in wrong.body


async def test_a_document_of_many_switches_is_answered_whatever_they_say(world: World) -> None:
    names = [f"s{i}" for i in range(6)]
    arguments = ", ".join(f"${name}: Boolean!" for name in names)
    taken = " ".join(f"{name}: __typename @include(if: ${name})" for name in names)
    query = f"query({arguments}) {{ always: __typename {taken} }}"
    ways = set()
    for number in range(2**6):
        results = {name: bool(number >> i & 1) for i, name in enumerate(names)}
        answer = await run_query(world, query, **results)
        assert list(answer.body["data"]) == ["always", *(name for name in names if results[name])]
        ways.add(answer.is_sql_json)
    assert ways == {True, False}


@pytest.mark.parametrize("is_compiled", [True, False])
async def test_a_connection_that_broke_is_replaced(database: Database, is_compiled: bool) -> None:
    settings = database.settings
    engine = database_engine.create_pool(settings)
    world = await World.create(settings, database_engine.session_factory(engine))
    query = "{ collectives(first: 5) { nodes { slug host { slug } } } }"
    before = await run_query(world, query)
    for _ in range(3):
        await world.scalar(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
        )
        world.settings = Settings(compiled_queries=is_compiled)
        assert (await run_query(world, query)).body == before.body
    await engine.dispose()
