"""Costs: what operations may cost at most, and that no answer costs more."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    get_operation_ast,
    is_leaf_type,
    is_required_argument,
)

from schema.build import schema
from schema.documents import document_cache
from schema.documents.document_limits import CODE
from schema.execution import cost
from schema.plan.cost_weights import FREE_TYPES
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.schema.http.test_endpoint_requests import post, serving, signed, the_code

LIST = "transactions(first: 100) { nodes { id amount { value } fromHost { id } order { id } } }"


def plan_of(query: str, name: str | None = None) -> cost.CostPlan:
    """Return the plan of an operation."""
    prepared = document_cache.prepare(query)
    assert prepared.document is not None, prepared.errors
    operation = get_operation_ast(prepared.document, name)
    assert operation is not None
    return cost.plan_cost(prepared, operation)


@pytest.mark.parametrize(
    ("query", "variables", "points"),
    [
        ("{ __typename }", {}, 1),
        ("{ me { id } }", {}, 1),
        ("{ me { id host { id } } }", {}, 2),
        # A connection, and each node with what is below it.
        (f"{{ {LIST} }}", {}, 1 + 100 * 3),
        ("{ transactions { nodes { id } } }", {}, 1 + 20),
        ("{ transactions(first: null) { nodes { id } } }", {}, 1 + 20),
        ("{ transactions { edges { cursor node { id } } pageInfo { endCursor } } }", {}, 1 + 20),
        ("{ transactions(first: 7) { totalCount } }", {}, 1 + 5),
        ("{ transactions(first: 2147483647) { nodes { id } } }", {}, 1 + 100),
        ("{ transactions(first: -5) { nodes { id } } }", {}, 1),
        ("{ transactions(last: 7) { nodes { id } } }", {}, 1 + 7),
        ('{ transactions(before: "x") { nodes { id } } }', {}, 1 + 20),
        ("{ transactions(first: 2, last: 7) { nodes { id } } }", {}, 1 + 7),
        ("query($n: Int) { transactions(last: $n) { nodes { id } } }", {"n": 3}, 1 + 3),
        ("query($n: Int = 9) { transactions(first: $n, last: 5) { nodes { id } } }", {}, 1 + 9),
        ("query($n: Int) { transactions(first: $n) { nodes { id } } }", {"n": 3}, 1 + 3),
        ("query($n: Int) { transactions(first: $n) { nodes { id } } }", {}, 1 + 20),
        ("query($n: Int) { transactions(first: $n) { nodes { id } } }", {"n": None}, 1 + 20),
        ("query($n: Int = 4) { transactions(first: $n) { nodes { id } } }", {}, 1 + 4),
        ("query($n: Int = 4) { transactions(first: $n) { nodes { id } } }", {"n": "no number"}, 1 + 100),
        (
            "query($n: Int, $m: Int) { collectives(first: $n) { nodes { members(first: $m) { nodes { "
            "member { name } } } } } }",
            {"n": 50, "m": 10},
            1 + 50 * (1 + 1 + 10 * 2),
        ),
        ("query($n: Int) { leaderboard(by: VOLUNTEER, first: $n) { rank } }", {"n": 3}, 3 * 5),
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": ["a", "b", "c"]}, 3),
        ('{ nodes(ids: ["a", "b"]) { id } }', {}, 2),
        # The same name twice is one field; two fragments on a list are one list.
        ("{ me { host { id } host { slug } } }", {}, 2),
        (
            "{ transactions { ...a ...b } } fragment a on TransactionConnection { nodes { id } } "
            "fragment b on TransactionConnection { nodes { fromHost { id } } }",
            {},
            1 + 20 * 2,
        ),
        ("{ a: transactions(first: 1) { nodes { id } } b: transactions(first: 2) { nodes { id } } }", {}, 5),
        ("{ ledgerAudit { isClean } }", {}, 1),
        ("{ __schema { types { name } } }", {}, 100),
        ("mutation { signOut { errors { code } } }", {}, 10 + 1),
        ('mutation { signIn(input: {email: "a", password: "b"}) { errors { code } } }', {}, 50 + 1),
        (
            "mutation($i: ApproveOrdersInput!) { approveOrders(input: $i) { results { order { id } } } }",
            {"i": {"ids": ["a"] * 7}},
            10 + 1 + 7 * 2,
        ),
        (
            'mutation { approveOrders(input: {ids: ["a", "b"]}) { results { order { id } } } }',
            {},
            10 + 1 + 2 * 2,
        ),
    ],
)
def test_an_operation_costs_the_objects_it_may_return(
    query: str, variables: dict[str, Any], points: int
) -> None:
    assert plan_of(query).requested_cost(variables) == points


def test_each_operation_of_a_document_has_its_own_cost() -> None:
    query = (
        "query A { ...f } query B($n: Int = 3) { ...f a: orders(first: $n) { nodes { id } } } "
        "fragment f on Query { me { id } }"
    )
    assert [plan_of(query, name).requested_cost({}) for name in "AB"] == [1, 1 + 1 + 3]
    assert plan_of(query, "A") is plan_of(query, "A")


def test_a_result_costs_the_objects_in_it() -> None:
    plan = plan_of(
        "{ me { host { id } } transactions { totalCount edges { node { amount { value } order { id } } } } }"
    )
    edges = [{"node": {"amount": {"value": "1"}, "order": order}} for order in ({"id": "1"}, None)]
    data = {"me": None, "transactions": {"totalCount": 2, "edges": edges}}
    assert plan.actual_cost(data) == 1 + 5 + 2 + 1
    assert plan.actual_cost(None) == plan.actual_cost({"me": None}) == 1


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


async def test_an_operation_that_costs_too_much_is_refused(client: httpx.AsyncClient, shared: World) -> None:
    query = "query($n: Int) { collectives(first: $n) { nodes { transactions(first: $n) { nodes { id } } } } }"
    body = {"query": query, "variables": {"n": 100}}
    answer = await post(client, body, Accept="application/graphql-response+json")
    assert (answer.status_code, the_code(answer), "data" in answer.json()) == (
        400,
        "COST_LIMIT_EXCEEDED",
        False,
    )
    assert "10201" in answer.json()["errors"][0]["message"]
    assert "errors" not in (await post(client, body | {"variables": {"n": 90}})).json()
    async with serving(replace(shared.settings, max_cost=20)) as other:
        assert the_code(await post(other, {"query": "{ transactions { nodes { id } } }"})) == (
            "COST_LIMIT_EXCEEDED"
        )


async def test_the_cost_is_returned_on_request(client: httpx.AsyncClient, shared: World) -> None:
    query = {"query": "{ collectives(first: 50) { nodes { id host { id } } } }"}
    assert "extensions" not in (await post(client, query)).json()
    answer = (await post(client, query, **signed(shared.admin), **{"Commonweal-Cost": "1"})).json()
    messages = answer["extensions"]["cost"]
    objects = sum(1 + (node["host"] is not None) for node in answer["data"]["collectives"]["nodes"])
    assert (messages["requestedQueryCost"], messages["actualQueryCost"]) == (101, 1 + objects)
    status = messages["throttleStatus"]
    assert (status["maximumAvailable"], status["restoreRate"]) == (100_000, 5_000)
    assert 0 < status["currentlyAvailable"] <= 100_000


# --- no answer costs more than was asked for ---


def selections(chance: random.Random, kind: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
    """Generate a selection set of a type: fields without required arguments, lists of some size."""
    results = []
    for name, field in chance.sample(sorted(kind.fields.items()), min(len(kind.fields), 7)):
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        inner = get_named_type(field.type)
        size = f"(first: {chance.choice((1, 2, 5, 100))})" if "first" in field.args else ""
        if is_leaf_type(inner):
            results.append(name)
        elif depth > 0 and isinstance(inner, GraphQLObjectType | GraphQLInterfaceType):
            alias = f"a{chance.randrange(3)}{name}: " if chance.random() < 0.5 else ""
            results.append(f"{alias}{name}{size} {{ {selections(chance, inner, depth - 1)} }}")
    return " ".join(["__typename", *results])


def objects(value: Any) -> int:
    """Count the objects of an answer that cost a point, by their names."""
    if isinstance(value, list):
        return sum(objects(item) for item in value)
    if not isinstance(value, dict):
        return 0
    name = value.get("__typename", "")
    is_free = name in FREE_TYPES or name.endswith("Edge") or name in {"Query", ""}
    return (not is_free) + sum(objects(item) for item in value.values())


async def test_no_result_costs_more_than_its_operation(world: World) -> None:
    scene = await DonationScene.create(world)
    for value in ("1.00", "2.00", "3.00"):
        expect_order(await scene.donate(value))
        await scene.expense(value)
    chance = random.Random(20_241)
    root = schema()._schema.query_type
    assert root is not None
    ran = 0
    for _ in range(240):
        query = "{ " + selections(chance, root, 4) + " }"
        prepared = document_cache.prepare(query)
        if prepared.errors:
            assert prepared.errors[0]["extensions"]["code"] == CODE, (query, prepared.errors)
            continue
        plan = plan_of(query)
        if plan.requested_cost({}) > 2_000:
            continue
        data = (await world.execute(query, by=chance.choice((world.admin, scene.holder, None)))).get("data")
        ran += 1
        assert objects(data) <= plan.requested_cost({}), query
        assert plan.actual_cost(data) <= plan.requested_cost({}), query
    assert ran > 30
