"""The number of statements of mutations of hosts, clearing, expenses and givers, and of fields of orders."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.bad_input_world import BadInputScene, create_bad_input_scene
from tests.factories import World, money, ref
from tests.statement_counts import record_statements, without_control

# In an order in which each is possible; a dry run leaves its object to the next.
STATEMENTS = {
    "updateExpense": 7,
    "confirmContribution": 6,
    "denyContribution": 6,
    "settleHosts": 7,
    "setClearingLimit": 4,
    "moveToHost": 5,
    "decideHostApplication": 4,
    "withdrawHostApplication": 3,
    "withdrawInvitation": 3,
    "applyAsHost": 5,
    "decideHost": 4,
    "leaveHost": 8,
    "unarchiveCollective": 7,
    "suspendHost": 7,
}
KEYED = {
    "updateExpense",
    "confirmContribution",
    "denyContribution",
    "settleHosts",
    "moveToHost",
    "decideHostApplication",
}


@pytest.fixture
async def scene(world: World) -> BadInputScene:
    return await create_bad_input_scene(world)


async def test_each_mutation_has_a_fixed_number_of_statements(
    scene: BadInputScene, engine: AsyncEngine
) -> None:
    counts = {}
    for mutation in STATEMENTS:
        arguments = scene.inputs[mutation] | ({"dryRun": True} if mutation in KEYED else {})
        with record_statements(engine) as statements:
            payload = await scene.world.mutate(mutation, by=scene.by(mutation), **arguments)
        assert payload["errors"] == [], mutation
        counts[mutation] = len(without_control(statements))
    assert counts == STATEMENTS


ORDERS = """query($c: CollectiveRef!) { orders(filter: {claimedGiver: $c}) { nodes {
    refundedAmount { value } claimedGiver { slug } giverStatus settlement { reference } } } }"""
SETTLEMENTS = """query($c: CollectiveRef!) { orders(filter: {type: SETTLEMENT, from: $c}) { nodes {
    refundedAmount { value } settlement { reference paid { value } covers } } } }"""


@pytest.mark.parametrize("query", [ORDERS, SETTLEMENTS], ids=["claims", "settlements"])
async def test_a_page_of_orders_is_one_statement_however_long(
    scene: BadInputScene, engine: AsyncEngine, query: str
) -> None:
    base, counts = scene.base, []
    subject = base.payee if query is ORDERS else base.host
    for _ in range(2):
        for _ in range(3):
            await add_one(scene, query)
        await scene.world.query(query, by=base.holder, c=ref(subject))
        with record_statements(engine) as statements:
            data = await scene.world.query(query, by=base.holder, c=ref(subject))
        assert len(data["orders"]["nodes"]) >= 3
        counts.append(len(without_control(statements)))
    assert counts == [1, 1]


async def add_one(scene: BadInputScene, query: str) -> None:
    """Add funds in the payee's name, or settle a part of what is owed."""
    base = scene.base
    if query is ORDERS:
        arguments: dict[str, Any] = {"from": ref(base.payee), "to": ref(base.webpack)}
        payload = await scene.world.mutate("addFunds", by=base.holder, amount=money("1.00"), **arguments)
    else:
        arguments = scene.inputs["settleHosts"] | {"amount": money("0.10")}
        payload = await scene.world.mutate("settleHosts", by=scene.boss, **arguments)
    assert payload["errors"] == []
