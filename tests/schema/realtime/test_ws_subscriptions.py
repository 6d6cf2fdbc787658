"""Subscriptions over websockets: what is told, to whom, and from where on."""

from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from models.enums import MemberRole
from services.access.actor import token_hash
from tests.donation_world import Scene, done
from tests.event_world import EventScene
from tests.factories import World, fresh, of, public_id
from tests.subscription_client import POSITION, Client, Place, connected, serving, until

TRANSACTIONS = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { id amount { value } } } }"""
ORDER = """subscription($id: ID!, $after: String) {
    orderChanged(id: $id, after: $after) { position order { id status actions { type } } } }"""
BALANCE = """subscription($c: CollectiveRef!, $after: String) {
    balanceChanged(collective: $c, after: $after) {
    position collective { slug } balances { currency posted { value } held { value } } } }"""
CHECK_INS = """subscription($e: CollectiveRef!, $after: String) { eventCheckIns(event: $e, after: $after) {
    position attendance { user { slug } checkedOutAt } } }"""


@pytest.fixture
async def scene(world: World) -> Scene:
    return await Scene.among_others(world)


async def position(world: World) -> str:
    """Return the position of now."""
    found: str = (await world.ask(POSITION))["livePosition"]
    return found


async def told(client: Client, field: str) -> Any:
    """Return what the next answer tells."""
    return (await client.next())[field]


async def amounts(client: Client, count: int) -> list[str]:
    """Return the amounts of the next transactions."""
    found = [await told(client, "transactionPosted") for _ in range(count)]
    return [one["transaction"]["amount"]["value"] for one in found]


async def test_a_transaction_is_told_as_it_is_posted_and_no_more_after_complete(
    place: Place, scene: Scene
) -> None:
    world = scene.world
    async with connected(place) as client, connected(place) as other:
        after = await position(world)
        for each in (client, other):
            await each.subscribe(TRANSACTIONS, c=of(scene.host), after=after)
        await world.fund(scene.host, "12.50", by=scene.holder)
        assert await told(client, "transactionPosted") == await told(other, "transactionPosted")
        await client.say("complete", "1")
        await world.fund(scene.host, "1", by=scene.holder)
        await world.fund(scene.webpack, "2", by=scene.holder)
        assert await amounts(other, 1) == ["1.00"]
        assert await client.silent()
        assert await other.silent(), "a fee or the cash of another's transaction is none of one's own"


async def test_without_a_position_it_begins_now(place: Place, scene: Scene) -> None:
    async with connected(place) as client:
        await client.subscribe(TRANSACTIONS, c=of(scene.webpack))
        await until(lambda: len(place.live.hub) == 1)
        await scene.world.fund(scene.webpack, "3", by=scene.holder)
        assert await amounts(client, 1) == ["3.00"]


async def test_an_order_is_told_at_each_step(place: Place, scene: Scene) -> None:
    world = scene.world
    order_id = await scene.expense("10.00")
    async with connected(place, scene.payee.token) as client:
        await client.subscribe(ORDER, id=order_id, after=await position(world))
        await world.do("approveOrder", by=scene.giver, id=order_id)
        assert (await told(client, "orderChanged"))["order"]["status"] == "APPROVED"
        await world.do("payOrder", by=scene.holder, id=order_id)
        order = (await told(client, "orderChanged"))["order"]
        assert order["status"] == "PAID"
        assert [action["type"] for action in order["actions"]] == ["CREATE", "APPROVE", "PAY"]


async def test_a_balance_is_told_when_it_is_another(place: Place, scene: Scene) -> None:
    world = scene.world
    async with connected(place) as client:
        await client.subscribe(BALANCE, c=of(scene.webpack), after=await position(world))
        order_id = await scene.expense("10.00")
        first = await told(client, "balanceChanged")
        assert first["collective"]["slug"] == scene.webpack.slug
        assert first["balances"][0]["held"]["value"] == "0.00"
        await world.do("approveOrder", by=scene.giver, id=order_id)
        assert (await told(client, "balanceChanged"))["balances"][0]["held"]["value"] == "10.00"
        await scene.expense("3.00")
        assert await client.silent(), "an expense that waits changes nothing of who would pay it"
        await world.do("payOrder", by=scene.holder, id=order_id)
        last = (await told(client, "balanceChanged"))["balances"][0]
        assert (last["posted"]["value"], last["held"]["value"]) == ("90.00", "0.00")


async def test_check_ins_and_check_outs_are_told_to_who_runs_the_event(world: World, place: Place) -> None:
    scene = await EventScene.create(world)
    event = await scene.event(starts=0.1, creditPolicy="ACTUAL")
    anna = await scene.person("anna")
    await scene.register(event, "anna")
    async with connected(place, scene.chris.token) as client, connected(place, anna.token) as guest:
        await client.subscribe(CHECK_INS, e=event, after=await position(world))
        await guest.subscribe(CHECK_INS, e=event)
        assert await guest.error() == "NOT_FOUND"
        await scene.check_in(event, anna)
        first = (await told(client, "eventCheckIns"))["attendance"]
        assert first == {"user": {"slug": anna.slug}, "checkedOutAt": None}


async def test_what_happened_since_a_position_is_told_once_and_in_order(place: Place, scene: Scene) -> None:
    world = scene.world
    after = await position(world)
    values = [f"{value}.00" for value in range(1, 31)]
    for value in values[:25]:
        await world.fund(scene.webpack, value, by=scene.holder)
    async with connected(place) as client:
        await client.subscribe(TRANSACTIONS, c=of(scene.webpack), after=after)
        found = [await told(client, "transactionPosted") for _ in range(25)]
        for value in values[25:]:
            await world.fund(scene.webpack, value, by=scene.holder)
        found += [await told(client, "transactionPosted") for _ in range(5)]
        assert await client.silent(0.3)
    assert [one["transaction"]["amount"]["value"] for one in found] == values
    async with connected(place) as client:
        await client.subscribe(TRANSACTIONS, c=of(scene.webpack), after=found[20]["position"])
        assert await amounts(client, 9) == values[21:]
        assert await client.silent(0.3)


async def test_what_does_not_exist_and_what_is_hidden_are_told_apart_by_nobody(
    place: Place, scene: Scene
) -> None:
    world = scene.world
    hidden = done(await scene.donate("1.00", from_=scene.payee, by=scene.payee, paymentMethod="MANUAL"))
    private = await world.person("private" + scene.suffix)
    nobody = {"id": public_id("Collective", fresh())}
    cases: list[tuple[str, dict[str, Any]]] = [
        (ORDER, {"id": public_id("Order", fresh())}),
        (ORDER, {"id": hidden}),
        (TRANSACTIONS, {"c": nobody}),
        (BALANCE, {"c": nobody}),
        (CHECK_INS, {"e": nobody}),
        (BALANCE, {"c": of(private)}),
        (CHECK_INS, {"e": of(scene.webpack)}),
    ]
    async with connected(place, scene.giver.token) as client:
        for query, variables in cases:
            await client.subscribe(query, **variables)
            assert await client.error() == "NOT_FOUND", (query, variables)
        assert len(place.live.hub) == 0, "no stream was begun"
    async with connected(place, private.token) as client:
        await client.subscribe(BALANCE, c=of(private))
        assert await client.silent(), "one's own is seen"


async def test_who_loses_the_right_is_told_nothing_more(place: Place, scene: Scene) -> None:
    world = scene.world
    other = await world.person("other" + scene.suffix)
    role = await world.member(scene.babel, other, MemberRole.ACCOUNTANT)
    order_id = done(await scene.donate("1.00", from_=scene.payee, by=scene.payee, paymentMethod="MANUAL"))
    async with connected(place, other.token) as client, connected(place, scene.payee.token) as payee:
        for each in (client, payee):
            await each.subscribe(ORDER, id=order_id)
        await until(lambda: len(place.live.hub) == 2)
        async with world.sessions() as session, session.begin():
            await session.execute(text("UPDATE member SET until = now() WHERE id = :id"), {"id": role.id})
        await scene.cancel(order_id)
        assert (await told(payee, "orderChanged"))["order"]["status"] == "CANCELLED"
        assert await client.silent()


async def test_a_token_that_is_revoked_or_expires_ends_its_subscriptions(place: Place, scene: Scene) -> None:
    world = scene.world
    for column in ("revoked_at", "expires_at"):
        token = await world.access_token(scene.giver, "READ")
        async with connected(place, token) as client, connected(place, scene.giver.token) as session_client:
            after = await position(world)
            for each in (client, session_client):
                await each.subscribe(TRANSACTIONS, c=of(scene.webpack), after=after)
            await world.fund(scene.webpack, "1", by=scene.holder)
            assert await amounts(client, 1) == await amounts(session_client, 1)
            end(world, token, column)
            assert await client.error() == "UNAUTHENTICATED"
            await client.subscribe("{ me { slug } }")
            assert await client.error() == "UNAUTHENTICATED"
            await world.fund(scene.webpack, "2", by=scene.holder)
            assert await amounts(session_client, 1) == ["2.00"]


def end(world: World, token: str, column: str) -> None:
    """End a token without a word of the API."""
    with psycopg.connect(world.settings.owner_database_url) as owner:
        statement = sql.SQL("UPDATE token SET {} = now() WHERE token_hash = %s").format(
            sql.Identifier(column)
        )
        owner.execute(statement, [token_hash(token)])


async def test_a_token_needs_the_scope_read(place: Place, scene: Scene) -> None:
    token = await scene.world.access_token(scene.giver, "ORDERS")
    async with connected(place, token) as client:
        await client.subscribe(TRANSACTIONS, c=of(scene.webpack))
        assert await client.error() == "FORBIDDEN"


@pytest.mark.parametrize(
    ("after", "code"),
    [(bad, "INVALID_INPUT") for bad in ("", "pos_", "pos_xyz", "\u20ac" * 9, "pos_" + "7" * 26)]
    + [("pos_" + "a" * 26, "INVALID_STATE")],
)
async def test_a_position_that_is_none_is_refused(place: Place, scene: Scene, after: str, code: str) -> None:
    async with connected(place) as client:
        await client.subscribe(TRANSACTIONS, c=of(scene.webpack), after=after)
        assert await client.error() == code


async def test_what_runs_over_a_connection_takes_points_as_over_http(world: World) -> None:
    limits = {"rate_capacity": 120, "rate_restore_per_second": 1, "max_cost": 120}
    async with serving(world.settings, **limits) as place, connected(place) as client:
        codes = []
        for number in range(200):
            await client.subscribe("{ __typename }", str(number))
            message = await client.hear()
            if message["type"] == "error":
                codes.append(message["payload"][0]["extensions"]["code"])
                break
            assert (await client.hear())["type"] == "complete"
        assert codes == ["RATE_LIMITED"]
        await client.subscribe(ORDER, "live", id=public_id("Order", fresh()))
        assert await client.error("live") == "RATE_LIMITED"
