"""Queries that are compiled, and direct reads of hot types without a call for each row."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLField, GraphQLObjectType, get_named_type, is_leaf_type

from schema.build import schema
from schema.execution import unit_of_work
from schema.execution.unit_of_work import OperationRequest, OperationResult
from schema.plan import field_access
from schema.types.fields import OF_ROW, OF_ROWS
from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Database
from tests.factories import World

HOT = (
    "Amount",
    "Balance",
    "CollectiveConnection",
    "CollectiveEdge",
    "Member",
    "MemberConnection",
    "MemberEdge",
    "OrderConnection",
    "OrderEdge",
    "PageInfo",
    "PaymentMethod",
    "Posting",
    "Transaction",
    "TransactionConnection",
    "TransactionEdge",
)
COLLECTIVES = ("User", "Community", "Nonprofit", "Business", "Event")
SELDOM = {
    "email",
    "mutedTopics",
    "orders",
    "transactions",
    "events",
    "payoutMethods",
    "hostApplications",
    "paymentMethods",
    "hoursToApprove",
    "hoursReport",
    "approvalPolicies",
    "identities",
    "pendingEmail",
    "subscriptions",
}
"""Fields of a single collective that lists do not select."""


async def run_query(world: World, query: str, **variables: Any) -> OperationResult:
    return await unit_of_work.execute(
        OperationRequest(query=query, variables=variables, address="test"),
        sessions=world.sessions,
        settings=world.settings,
    )


def hot_fields() -> Iterator[tuple[str, GraphQLField]]:
    types = schema()._schema.type_map
    for name in (*HOT, *COLLECTIVES):
        kind = types[name]
        assert isinstance(kind, GraphQLObjectType)
        for key, field in kind.fields.items():
            if name not in COLLECTIVES or key not in SELDOM:
                yield f"{name}.{key}", field


def test_no_field_of_a_hot_type_is_called_for_each_row() -> None:
    called = []
    for name, field in hot_fields():
        resolver = field_access.resolver_of(field_access.declaration_of(field))
        is_row = resolver is None or hasattr(resolver, OF_ROW)
        if not is_row and not hasattr(resolver, OF_ROWS) and not name.endswith(".totalCount"):
            called.append(name)
    assert called == []


def test_no_scalar_of_a_hot_type_is_asynchronous() -> None:
    counts = {"registrationCount", "waitingCount", "totalCount"}
    for name, field in hot_fields():
        resolver = field_access.resolver_of(field_access.declaration_of(field))
        if is_leaf_type(get_named_type(field.type)) and name.partition(".")[2] not in counts:
            assert resolver is None or hasattr(resolver, OF_ROW), name


def test_nothing_stands_between_a_field_and_its_resolver() -> None:
    built = schema()
    assert built.directives in ((), []) or not any(d.resolver for d in built.directives)
    for extension in built.extensions:
        created = extension if isinstance(extension, type) else type(extension)
        assert "resolve" not in vars(created)


async def test_queries_are_compiled_and_mutations_are_not(world: World) -> None:
    assert (await run_query(world, "{ me { id } currencies { code } }")).is_compiled
    assert (await run_query(world, "query($a: Boolean!) { me @skip(if: $a) { id } }", a=True)).body == {
        "data": {}
    }
    for text in ("{ __schema { queryType { name } } }", "mutation { signOut { errors { code } } }"):
        assert not (await run_query(world, text)).is_compiled


async def test_errors_are_told_by_graphql_core_with_their_paths(world: World) -> None:
    answer = await run_query(world, '{ c: currencies { code } bad: node(id: "nothing") { id } }')
    assert not answer.is_compiled
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
        ways.add(answer.is_compiled)
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
