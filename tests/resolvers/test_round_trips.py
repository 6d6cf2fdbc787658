"""How often a mutation waits for the database: for facts, and for its effects with their COMMIT."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.execution import unit_of_work
from schema.execution.operation import OperationRequest
from services.access import viewer_cache
from tests.donation_world import DonationScene
from tests.event_world import EventScene
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.offer_world import OfferScene
from tests.statement_counts import CONTROL, record_round_trips, record_statements

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


async def add_funds(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    arguments = {"to": ref(scene.webpack), "amount": money("5.00")}
    return "addFunds", scene.holder, arguments


async def transfer_funds(world: World) -> Call:
    _, giver, arguments = await donate(world)
    return "transferFunds", giver, arguments


async def submit_expense(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    sides = {"from": ref(scene.webpack), "to": ref(scene.payee)}
    return "submitExpense", scene.payee, {"amount": money("5.00"), **sides}


async def submit_lines(world: World) -> Call:
    mutation, payee, arguments = await submit_expense(world)
    lines = [{"description": name, "amount": money("2.50")} for name in ("taxi", "train")]
    del arguments["amount"]
    return mutation, payee, arguments | {"items": lines, "privateMessage": "psst"}


async def cancel_expense(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    return "cancelOrder", scene.payee, {"id": await scene.expense("5.00")}


async def refund_gift(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    gift = await scene.donate("5.00")
    return "refundOrder", scene.holder, {"id": gift["order"]["id"], "amount": money("2.00")}


async def log_hours(world: World) -> Call:
    scene = await HoursScene.create(world)
    times = {"startsAt": yesterday(8).isoformat(), "endsAt": yesterday(9).isoformat()}
    return "logHours", scene.john, {"nonprofit": ref(scene.nonprofit), **times}


async def check_in(world: World) -> Call:
    scene = await EventScene.create(world)
    event, ann = await scene.event(starts=0.5, hours=2.5), await scene.person("ann")
    return "checkIn", scene.chris, {"event": event, "user": ref(ann)}


async def check_in_invited(world: World) -> Call:
    scene = await EventScene.create(world)
    event, ann = await scene.event(starts=0.5), await scene.person("ann")
    await world.mutate("inviteToEvent", by=scene.chris, event=event, emails=[ann.email])
    return "checkIn", scene.chris, {"event": event, "user": ref(ann)}


async def redeem(world: World) -> Call:
    scene = await OfferScene.create(world)
    return (
        "redeemOffer",
        scene.john,
        {"offer": await scene.offer(), "price": money("20.00"), "receipt": "till"},
    )


async def approve_redemption(world: World) -> Call:
    scene = await OfferScene.create(world)
    payload = await scene.redeem(await scene.offer())
    return "approveOrder", scene.mark, {"id": payload["order"]["id"]}


async def cash_out(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    await world.fund(scene.payee.user, "10.00", by=world.admin)
    return "cashOut", scene.payee, {"amount": money("3.00")}


MUTATIONS: list[tuple[Callable[[World], Awaitable[Call]], int, int]] = [
    (approve_gift, 2, 10),
    (reject_gift, 2, 7),
    (approve_expense, 2, 8),
    (pay_expense, 2, 7),
    (approve_hours, 2, 9),
    (donate, 2, 8),
    (add_funds, 2, 7),
    (transfer_funds, 2, 7),
    (submit_expense, 2, 6),
    (submit_lines, 2, 7),
    (cancel_expense, 2, 7),
    (refund_gift, 2, 10),
    (log_hours, 2, 7),
    (check_in, 2, 11),
    (check_in_invited, 2, 11),
    (redeem, 2, 11),
    (approve_redemption, 2, 9),
    (cash_out, 2, 6),
]


async def meet(world: World, person: Person) -> None:
    """Let the process know a person, as after any query of theirs."""
    request = OperationRequest(query="{ me { slug } }", token=person.token, address="test")
    await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)


@pytest.mark.parametrize(
    ("prepare", "trips", "statements"), MUTATIONS, ids=lambda p: getattr(p, "__name__", "")
)
async def test_a_mutation_of_a_known_viewer_waits_this_often(
    world: World,
    engine: AsyncEngine,
    prepare: Callable[[World], Awaitable[Call]],
    trips: int,
    statements: int,
) -> None:
    mutation, by, arguments = await prepare(world)
    await meet(world, by)
    with record_round_trips(engine) as recorded, record_statements(engine) as sent:
        payload = await world.mutate(mutation, PLAIN, by=by, idempotencyKey="k", **arguments)
    assert payload["errors"] == []
    assert not CONTROL & set(sent), "the mapper's session begins nothing, which costs more than a round trip"
    assert (len(recorded), sum(map(len, recorded))) == (trips, statements), recorded


async def test_a_viewer_who_is_not_known_costs_one_more(world: World, engine: AsyncEngine) -> None:
    mutation, by, arguments = await donate(world)
    viewer_cache.forget(by.token)
    with record_round_trips(engine) as recorded:
        await world.mutate(mutation, PLAIN, by=by, idempotencyKey="k", **arguments)
    assert len(recorded) == 3


async def test_a_selection_of_relations_is_read_with_the_commit(world: World, engine: AsyncEngine) -> None:
    mutation, by, arguments = await approve_gift(world)
    await world.mutate(mutation, RELATED, by=by, dryRun=True, **arguments)
    await meet(world, by)
    with record_round_trips(engine) as recorded:
        payload = await world.mutate(mutation, RELATED, by=by, **arguments)
    assert payload["order"]["to"]["slug"]
    assert len(recorded) == 2
    assert "payload" in recorded[-1][-1]


async def test_a_new_document_of_relations_is_read_before_the_commit(
    world: World, engine: AsyncEngine
) -> None:
    mutation, by, arguments = await approve_gift(world)
    with record_round_trips(engine) as recorded:
        payload = await world.mutate(mutation, f"{RELATED} __typename", by=by, **arguments)
    assert payload["order"]["to"]["slug"]
    assert "FROM collective" in recorded[-1][-1]
