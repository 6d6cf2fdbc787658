"""How many SQL statements a request takes: no more than its target, whatever the size of a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import MemberRole
from tests.donation_world import Scene, done
from tests.factories import Person, World, money, of
from tests.hours_world import TimeScene, yesterday

FEED = """query($first: Int!) { transactions(first: $first) { nodes {
    id kind amount { value currency } toHostAmount { value currency }
    fromCollective { slug name } toCollective { slug name } fromHost { slug } toHost { slug }
    order { id status description }
} } }"""
MEMBERS = """query($first: Int!) { collectives(first: $first, filter: {type: [COMMUNITY]}) { nodes {
    slug members(first: 10) { nodes { role member { slug name } } }
} } }"""
MOST_OF_FEED, MOST_OF_MUTATION = 5, 10


@contextmanager
def counted(engine: AsyncEngine) -> Iterator[list[str]]:
    """Collect every statement that the engine sends, and BEGIN, COMMIT and ROLLBACK."""
    sent: list[str] = []

    def note(_c: Any, _k: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
        sent.append(statement)

    def noted(word: str) -> Any:
        return lambda _connection: sent.append(word)

    sync = engine.sync_engine
    listeners = [("before_cursor_execute", note)]
    listeners += [(name, noted(name.upper())) for name in ("begin", "commit", "rollback")]
    for name, listener in listeners:
        event.listen(sync, name, listener)
    try:
        yield sent
    finally:
        for name, listener in listeners:
            event.remove(sync, name, listener)


def statements(sent: list[str]) -> list[str]:
    return [line for line in sent if line not in {"BEGIN", "COMMIT", "ROLLBACK"}]


async def of_query(
    world: World, engine: AsyncEngine, query: str, *, by: Person | None = None, rows: int, **variables: Any
) -> int:
    """Return how many statements a query takes; its page has so many rows."""
    with counted(engine) as sent:
        answer = await world.ask(query, by=by, **variables)
    (page,) = answer.values()
    assert len(page["nodes"]) == rows
    return len(statements(sent))


async def of_mutation(
    world: World, engine: AsyncEngine, mutation: str, *, by: Person, **given: Any
) -> tuple[list[str], str]:
    """Return the statements of a keyed mutation, which is one transaction, and its order's id."""
    with counted(engine) as sent:
        done = await world.do(mutation, "order { id status }", by=by, idempotencyKey=mutation, **given)
    assert done["errors"] == []
    assert (sent[0], sent[-1]) == ("BEGIN", "COMMIT")
    assert sent.count("BEGIN") == sent.count("COMMIT") == 1
    return statements(sent), done["order"]["id"]


async def test_the_feed_takes_as_many_statements_for_50_transactions_as_for_5(
    world: World, engine: AsyncEngine
) -> None:
    scene = await Scene.create(world, funds="1000.00")
    other = await scene.host_of("other")
    wwcode = await scene.community("wwcode", other, scene.friend)
    for number in range(50):
        await scene.donate("1.00", to=(scene.babel, wwcode)[number % 2])
    for viewer in (None, scene.giver):
        five = await of_query(world, engine, FEED, by=viewer, rows=5, first=5)
        fifty = await of_query(world, engine, FEED, by=viewer, rows=50, first=50)
        assert five == fifty <= MOST_OF_FEED


async def test_nested_members_take_as_many_statements_for_20_collectives_as_for_2(
    world: World, engine: AsyncEngine
) -> None:
    people = [await world.person(f"person-{i}") for i in range(10)]
    host = await world.host("opensource")
    for number in range(20):
        row = await world.community(f"community-{number}", host)
        for person in people:
            await world.member(row, person, MemberRole.MEMBER)
    two = await of_query(world, engine, MEMBERS, rows=2, first=2)
    twenty = await of_query(world, engine, MEMBERS, rows=20, first=20)
    assert two == twenty <= MOST_OF_FEED


async def test_each_mutation_of_money_takes_at_most_10_statements(world: World, engine: AsyncEngine) -> None:
    scene = await Scene.create(world)
    holder, giver, payee, webpack = scene.holder, scene.giver, scene.payee, scene.webpack

    funds, _ = await of_mutation(world, engine, "addFunds", by=holder, to=of(webpack), amount=money("10.00"))
    expense, order_id = await of_mutation(
        world,
        engine,
        "submitExpense",
        by=payee,
        to=of(payee),
        amount=money("5.00"),
        **{"from": of(webpack)},
    )
    approval, _ = await of_mutation(world, engine, "approveOrder", by=giver, id=order_id)
    payment, _ = await of_mutation(world, engine, "payOrder", by=holder, id=order_id)
    gift, _ = await of_mutation(
        world,
        engine,
        "donate",
        by=giver,
        to=of(scene.babel),
        amount=money("5.00"),
        **{"from": of(webpack)},
    )

    await world.fund(giver.user, "5.00", by=world.admin)
    with counted(engine) as sent:
        done(await scene.donate("5.00", from_=giver, idempotencyKey="own"))
    own = statements(sent)

    for found in (funds, expense, approval, payment, gift):
        assert 0 < len(found) <= MOST_OF_MUTATION, found
    assert len(own) == len(gift) + 1  # the receipt of a user who gives
    assert sum("outbox" in line for line in expense) == 1  # the mail is among them
    assert sum("idempotency" in line for line in funds) == 1
    await world.audit_is_clean()


async def test_many_hours_are_approved_in_as_many_statements_as_two(
    world: World, engine: AsyncEngine
) -> None:
    scene = await TimeScene.create(world)
    asked = [done(await scene.log(0.25, start=yesterday(0, 15 * i))) for i in range(4)]
    asked += [done(await scene.log(0.25, start=yesterday(1, 15 * i))) for i in range(4)]
    asked += [done(await scene.log(0.25, start=yesterday(2, 15 * i))) for i in range(4)]
    counts = []
    for part in (asked[:2], asked[2:]):
        with counted(engine) as sent:
            many = await world.do(
                "approveOrders",
                "results { order { id status } errors { code } }",
                by=scene.chris,
                ids=part,
                idempotencyKey=part[0],
            )
        assert {r["order"]["status"] for r in many["results"]} == {"PAID"}
        counts.append(len(statements(sent)))
    assert counts == [13, 13]


async def test_each_mutation_of_time_takes_at_most_a_dozen_statements(
    world: World, engine: AsyncEngine
) -> None:
    scene = await TimeScene.create(world)
    start = yesterday(8)
    hours, order_id = await of_mutation(
        world,
        engine,
        "logHours",
        by=scene.john,
        nonprofit=of(scene.nonprofit),
        startsAt=start.isoformat(),
        endsAt=start.replace(hour=9).isoformat(),
    )
    approval, _ = await of_mutation(world, engine, "approveOrder", by=scene.chris, id=order_id)
    gift, _ = await of_mutation(
        world,
        engine,
        "transferFunds",
        by=scene.john,
        to=of(scene.business),
        amount=money("0.500", "CUR"),
        **{"from": of(scene.john)},
    )
    for found in (hours, approval, gift):
        assert 0 < len(found) <= MOST_OF_MUTATION, found
