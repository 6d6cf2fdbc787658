"""Requests stay within their number of SQL statements, whatever the size of a page."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import MemberRole
from services.access import viewer_cache
from services.core import public_ids
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_statements, without_control

FEED = """query($first: Int!) { transactions(first: $first) { nodes {
    id kind amount { value currency } toHostAmount { value currency }
    fromCollective { slug name } toCollective { slug name } fromHost { slug } toHost { slug }
    order { id status description }
} } }"""
MEMBERS = """query($first: Int!) { collectives(first: $first, filter: {type: [COMMUNITY]}) { nodes {
    slug members(first: 10) { nodes { role member { slug name } } }
} } }"""
MAX_FOR_MUTATION = 10
_TRANSACTIONS = """SELECT count(DISTINCT x) FROM (
    SELECT xmin::text FROM "order" WHERE id = :id
    UNION ALL SELECT xmin::text FROM idempotency WHERE key = :key
) t (x)"""


async def count_query(
    world: World, engine: AsyncEngine, query: str, *, by: Person | None = None, rows: int, **variables: Any
) -> int:
    """Return the number of statements of a query whose page has `rows` rows, and whose viewer is known."""
    await world.query(query, by=by, **variables)
    with record_statements(engine) as statements:
        answer = await world.query(query, by=by, **variables)
    (page,) = answer.values()
    assert len(page["nodes"]) == rows
    return len(without_control(statements))


async def record_mutation(
    world: World, engine: AsyncEngine, mutation: str, *, by: Person, **arguments: Any
) -> tuple[list[str], str]:
    """Return the statements of a keyed mutation, which runs in one transaction, and its order's id."""
    viewer_cache.forget(by.token)  # what the process knew of them may be out of date by now
    with record_statements(engine) as statements:
        payload = await world.mutate(
            mutation, "order { id status }", by=by, idempotencyKey=mutation, **arguments
        )
    assert payload["errors"] == []
    order_id = payload["order"]["id"]
    row_id = public_ids.decode("Order", order_id, field="id")
    assert await world.scalar(_TRANSACTIONS, id=row_id, key=mutation) == 1
    return without_control(statements), order_id


async def test_a_feed_of_50_transactions_is_one_statement_as_one_of_5(
    world: World, engine: AsyncEngine
) -> None:
    scene = await DonationScene.create(world, funds="1000.00")
    other = await scene.host_of("other")
    wwcode = await scene.community("wwcode", other, scene.friend)
    for number in range(50):
        await scene.donate("1.00", to=(scene.babel, wwcode)[number % 2])
    for viewer in (None, scene.giver):
        five = await count_query(world, engine, FEED, by=viewer, rows=5, first=5)
        fifty = await count_query(world, engine, FEED, by=viewer, rows=50, first=50)
        assert five == fifty == 1


async def test_members_of_20_collectives_are_one_statement_as_those_of_2(
    world: World, engine: AsyncEngine
) -> None:
    people = [await world.person(f"person-{i}") for i in range(10)]
    host = await world.host("opensource")
    for number in range(20):
        row = await world.community(f"community-{number}", host)
        for person in people:
            await world.member(row, person, MemberRole.MEMBER)
    two = await count_query(world, engine, MEMBERS, rows=2, first=2)
    twenty = await count_query(world, engine, MEMBERS, rows=20, first=20)
    assert two == twenty == 1


async def test_each_money_mutation_takes_at_most_10_statements(world: World, engine: AsyncEngine) -> None:
    scene = await DonationScene.create(world)
    holder, giver, payee, webpack = scene.holder, scene.giver, scene.payee, scene.webpack

    funds, _ = await record_mutation(
        world, engine, "addFunds", by=holder, to=ref(webpack), amount=money("10.00")
    )
    expense, order_id = await record_mutation(
        world,
        engine,
        "submitExpense",
        by=payee,
        to=ref(payee),
        amount=money("5.00"),
        **{"from": ref(webpack)},
    )
    approval, _ = await record_mutation(world, engine, "approveOrder", by=giver, id=order_id)
    payment, _ = await record_mutation(world, engine, "payOrder", by=holder, id=order_id)
    donation, _ = await record_mutation(
        world,
        engine,
        "donate",
        by=giver,
        to=ref(scene.babel),
        amount=money("5.00"),
        **{"from": ref(webpack)},
    )

    await world.fund(giver.user, "5.00", by=world.admin)
    with record_statements(engine) as statements:
        expect_order(await scene.donate("5.00", from_=giver, idempotencyKey="own"))
    own = without_control(statements)

    for result in (funds, expense, approval, payment, donation):
        assert 0 < len(result) <= MAX_FOR_MUTATION, result
    assert len(own) == len(donation) + 1  # the receipt of a user who gives
    assert sum("mail_queue" in line for line in expense) == 1  # the mail is among them
    assert sum("idempotency" in line for line in funds) == 1
    await world.assert_clean_ledger()


async def test_approving_many_hours_takes_as_many_statements_as_two(
    world: World, engine: AsyncEngine
) -> None:
    scene = await HoursScene.create(world)
    order_ids = [expect_order(await scene.log(0.25, start=yesterday(0, 15 * i))) for i in range(4)]
    order_ids += [expect_order(await scene.log(0.25, start=yesterday(1, 15 * i))) for i in range(4)]
    order_ids += [expect_order(await scene.log(0.25, start=yesterday(2, 15 * i))) for i in range(4)]
    counts = []
    for part in (order_ids[:2], order_ids[2:]):
        with record_statements(engine) as statements:
            many = await world.mutate(
                "approveOrders",
                "results { order { id status } errors { code } }",
                by=scene.chris,
                ids=part,
                idempotencyKey=part[0],
            )
        assert {r["order"]["status"] for r in many["results"]} == {"PAID"}
        counts.append(len(without_control(statements)))
    assert counts == [13, 13]


async def test_each_hours_mutation_stays_within_its_statements(world: World, engine: AsyncEngine) -> None:
    scene = await HoursScene.create(world)
    start = yesterday(8)
    hours, order_id = await record_mutation(
        world,
        engine,
        "logHours",
        by=scene.john,
        nonprofit=ref(scene.nonprofit),
        startsAt=start.isoformat(),
        endsAt=start.replace(hour=9).isoformat(),
    )
    approval, _ = await record_mutation(world, engine, "approveOrder", by=scene.chris, id=order_id)
    donation, _ = await record_mutation(
        world,
        engine,
        "transferFunds",
        by=scene.john,
        to=ref(scene.business),
        amount=money("0.500", "CUR"),
        **{"from": ref(scene.john)},
    )
    for result in (hours, approval, donation):
        assert 0 < len(result) <= MAX_FOR_MUTATION, result
