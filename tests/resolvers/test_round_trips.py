"""How often a mutation waits for the database: for facts, and for its effects with their COMMIT."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_round_trips

Call = tuple[str, Any, dict[str, Any]]
PLAIN = "order { id status amount { value currency } }"
RELATED = "order { id to { slug } }"


async def approve_gift(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    giver, to = {"from": ref(scene.giver.user)}, ref(scene.webpack)
    payload = await world.mutate(
        "donate", "order { id }", by=scene.giver, paymentMethod="MANUAL", to=to, amount=money("5.00"), **giver
    )
    return "approveOrder", scene.holder, {"id": payload["order"]["id"]}


async def reject_gift(world: World) -> Call:
    _, holder, arguments = await approve_gift(world)
    return "rejectOrder", holder, arguments | {"reason": "No transfer came."}


async def approve_expense(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    return "approveOrder", scene.giver, {"id": await scene.expense("5.00")}


async def pay_expense(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    order_id = await scene.expense("5.00")
    await world.mutate("approveOrder", by=scene.giver, id=order_id)
    return "payOrder", scene.holder, {"id": order_id}


async def approve_hours(world: World) -> Call:
    scene = await HoursScene.create(world)
    start = yesterday(8)
    payload = await world.mutate(
        "logHours",
        "order { id }",
        by=scene.john,
        nonprofit=ref(scene.nonprofit),
        startsAt=start.isoformat(),
        endsAt=start.replace(hour=9).isoformat(),
    )
    return "approveOrder", scene.chris, {"id": payload["order"]["id"]}


async def donate(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    sides = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    return "donate", scene.giver, {"amount": money("5.00"), **sides}


MUTATIONS: list[tuple[Callable[[World], Awaitable[Call]], int, int]] = [
    (approve_gift, 3, 10),
    (reject_gift, 3, 7),
    (approve_expense, 3, 8),
    (pay_expense, 3, 7),
    (approve_hours, 3, 9),
    (donate, 4, 8),
]


@pytest.mark.parametrize(
    ("prepare", "trips", "statements"), MUTATIONS, ids=lambda p: getattr(p, "__name__", "")
)
async def test_a_mutation_waits_this_often(
    world: World,
    engine: AsyncEngine,
    prepare: Callable[[World], Awaitable[Call]],
    trips: int,
    statements: int,
) -> None:
    mutation, by, arguments = await prepare(world)
    with record_round_trips(engine) as recorded:
        payload = await world.mutate(mutation, PLAIN, by=by, idempotencyKey="k", **arguments)
    assert payload["errors"] == []
    assert (len(recorded), sum(map(len, recorded))) == (trips, statements), recorded


async def test_a_selection_of_relations_is_read_before_the_commit(world: World, engine: AsyncEngine) -> None:
    mutation, by, arguments = await approve_gift(world)
    with record_round_trips(engine) as recorded:
        payload = await world.mutate(mutation, RELATED, by=by, **arguments)
    assert payload["order"]["to"]["slug"]
    assert "FROM collective" in recorded[-1][-1]
