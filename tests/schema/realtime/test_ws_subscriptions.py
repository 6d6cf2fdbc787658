"""Subscriptions over websockets: their events, their viewers, and resuming."""

from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from models.enums import MemberRole
from services.access.actor import hash_token
from tests.donation_world import DonationScene, expect_order
from tests.event_world import EventScene
from tests.factories import World, public_id, ref, unused_id
from tests.subscription_client import (
    POSITION,
    ApiServer,
    WebsocketClient,
    connect_client,
    serve_in_process,
    wait_until,
)

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
async def scene(world: World) -> DonationScene:
    return await DonationScene.among_others(world)


async def position(world: World) -> str:
    """Return the position of now."""
    live_position: str = (await world.query(POSITION))["livePosition"]
    return live_position


async def next_event(client: WebsocketClient, field: str) -> Any:
    """Return what the next answer tells."""
    return (await client.next())[field]


async def amounts(client: WebsocketClient, count: int) -> list[str]:
    """Return the amounts of the next transactions."""
    results = [await next_event(client, "transactionPosted") for _ in range(count)]
    return [one["transaction"]["amount"]["value"] for one in results]


async def test_a_posted_transaction_is_sent_until_complete(api: ApiServer, scene: DonationScene) -> None:
    world = scene.world
    async with connect_client(api) as client, connect_client(api) as other:
        after = await position(world)
        for each in (client, other):
            await each.subscribe(TRANSACTIONS, c=ref(scene.host), after=after)
        await world.fund(scene.host, "12.50", by=scene.holder)
        assert await next_event(client, "transactionPosted") == await next_event(other, "transactionPosted")
        await client.send("complete", "1")
        await world.fund(scene.host, "1", by=scene.holder)
        await world.fund(scene.webpack, "2", by=scene.holder)
        assert await amounts(other, 1) == ["1.00"]
        assert await client.is_silent()
        assert await other.is_silent(), "a fee or the cash of another's transaction is none of one's own"


async def test_without_a_position_a_subscription_starts_now(api: ApiServer, scene: DonationScene) -> None:
    async with connect_client(api) as client:
        await client.subscribe(TRANSACTIONS, c=ref(scene.webpack))
        await wait_until(lambda: len(api.live.broadcaster) == 1)
        await scene.world.fund(scene.webpack, "3", by=scene.holder)
        assert await amounts(client, 1) == ["3.00"]


async def test_an_order_is_sent_at_each_step(api: ApiServer, scene: DonationScene) -> None:
    world = scene.world
    order_id = await scene.expense("10.00")
    async with connect_client(api, scene.payee.token) as client:
        await client.subscribe(ORDER, id=order_id, after=await position(world))
        await world.mutate("approveOrder", by=scene.giver, id=order_id)
        assert (await next_event(client, "orderChanged"))["order"]["status"] == "APPROVED"
        await world.mutate("payOrder", by=scene.holder, id=order_id)
        order = (await next_event(client, "orderChanged"))["order"]
        assert order["status"] == "PAID"
        assert [action["type"] for action in order["actions"]] == ["CREATE", "APPROVE", "PAY"]


async def test_a_balance_is_sent_when_it_changes(api: ApiServer, scene: DonationScene) -> None:
    world = scene.world
    async with connect_client(api) as client:
        await client.subscribe(BALANCE, c=ref(scene.webpack), after=await position(world))
        order_id = await scene.expense("10.00")
        first = await next_event(client, "balanceChanged")
        assert first["collective"]["slug"] == scene.webpack.slug
        assert first["balances"][0]["held"]["value"] == "0.00"
        await world.mutate("approveOrder", by=scene.giver, id=order_id)
        assert (await next_event(client, "balanceChanged"))["balances"][0]["held"]["value"] == "10.00"
        await scene.expense("3.00")
        assert await client.is_silent(), "an expense that waits changes nothing of who would pay it"
        await world.mutate("payOrder", by=scene.holder, id=order_id)
        last = (await next_event(client, "balanceChanged"))["balances"][0]
        assert (last["posted"]["value"], last["held"]["value"]) == ("90.00", "0.00")


async def test_check_ins_and_check_outs_are_sent_to_the_events_admins(world: World, api: ApiServer) -> None:
    scene = await EventScene.create(world)
    event = await scene.event(starts=0.1, creditPolicy="ACTUAL")
    anna = await scene.person("anna")
    await scene.register(event, "anna")
    async with connect_client(api, scene.chris.token) as client, connect_client(api, anna.token) as guest:
        await client.subscribe(CHECK_INS, e=event, after=await position(world))
        await guest.subscribe(CHECK_INS, e=event)
        assert await guest.error() == "NOT_FOUND"
        await scene.check_in(event, anna)
        first = (await next_event(client, "eventCheckIns"))["attendance"]
        assert first == {"user": {"slug": anna.slug}, "checkedOutAt": None}


async def test_events_since_a_position_are_sent_once_and_in_order(
    api: ApiServer, scene: DonationScene
) -> None:
    world = scene.world
    after = await position(world)
    values = [f"{value}.00" for value in range(1, 31)]
    for value in values[:25]:
        await world.fund(scene.webpack, value, by=scene.holder)
    async with connect_client(api) as client:
        await client.subscribe(TRANSACTIONS, c=ref(scene.webpack), after=after)
        results = [await next_event(client, "transactionPosted") for _ in range(25)]
        for value in values[25:]:
            await world.fund(scene.webpack, value, by=scene.holder)
        results += [await next_event(client, "transactionPosted") for _ in range(5)]
        assert await client.is_silent(0.3)
    assert [one["transaction"]["amount"]["value"] for one in results] == values
    async with connect_client(api) as client:
        await client.subscribe(TRANSACTIONS, c=ref(scene.webpack), after=results[20]["position"])
        assert await amounts(client, 9) == values[21:]
        assert await client.is_silent(0.3)


async def test_missing_and_hidden_objects_are_indistinguishable(api: ApiServer, scene: DonationScene) -> None:
    world = scene.world
    hidden = expect_order(
        await scene.donate("1.00", from_=scene.payee, by=scene.payee, paymentMethod="MANUAL")
    )
    private = await world.person("private" + scene.suffix)
    nobody = {"id": public_id("Collective", unused_id())}
    cases: list[tuple[str, dict[str, Any]]] = [
        (ORDER, {"id": public_id("Order", unused_id())}),
        (ORDER, {"id": hidden}),
        (TRANSACTIONS, {"c": nobody}),
        (BALANCE, {"c": nobody}),
        (CHECK_INS, {"e": nobody}),
        (BALANCE, {"c": ref(private)}),
        (CHECK_INS, {"e": ref(scene.webpack)}),
    ]
    async with connect_client(api, scene.giver.token) as client:
        for query, variables in cases:
            await client.subscribe(query, **variables)
            assert await client.error() == "NOT_FOUND", (query, variables)
        assert len(api.live.broadcaster) == 0, "no stream was begun"
    async with connect_client(api, private.token) as client:
        await client.subscribe(BALANCE, c=ref(private))
        assert await client.is_silent(), "one's own is seen"


async def test_losing_access_ends_the_events(api: ApiServer, scene: DonationScene) -> None:
    world = scene.world
    other = await world.person("other" + scene.suffix)
    role = await world.member(scene.babel, other, MemberRole.ACCOUNTANT)
    order_id = expect_order(
        await scene.donate("1.00", from_=scene.payee, by=scene.payee, paymentMethod="MANUAL")
    )
    async with connect_client(api, other.token) as client, connect_client(api, scene.payee.token) as payee:
        for each in (client, payee):
            await each.subscribe(ORDER, id=order_id)
        await wait_until(lambda: len(api.live.broadcaster) == 2)
        async with world.sessions() as session, session.begin():
            await session.execute(text("UPDATE member SET until = now() WHERE id = :id"), {"id": role.id})
        await scene.cancel(order_id)
        assert (await next_event(payee, "orderChanged"))["order"]["status"] == "CANCELLED"
        assert await client.is_silent()


async def test_a_token_that_is_revoked_or_expires_ends_its_subscriptions(
    api: ApiServer, scene: DonationScene
) -> None:
    world = scene.world
    for column in ("revoked_at", "expires_at"):
        token = await world.access_token(scene.giver, "READ")
        async with (
            connect_client(api, token) as client,
            connect_client(api, scene.giver.token) as session_client,
        ):
            after = await position(world)
            for each in (client, session_client):
                await each.subscribe(TRANSACTIONS, c=ref(scene.webpack), after=after)
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
        owner.execute(statement, [hash_token(token)])


async def test_a_token_needs_the_scope_read(api: ApiServer, scene: DonationScene) -> None:
    token = await scene.world.access_token(scene.giver, "ORDERS")
    async with connect_client(api, token) as client:
        await client.subscribe(TRANSACTIONS, c=ref(scene.webpack))
        assert await client.error() == "FORBIDDEN"


@pytest.mark.parametrize(
    ("after", "code"),
    [(bad, "INVALID_INPUT") for bad in ("", "pos_", "pos_xyz", "\u20ac" * 9, "pos_" + "7" * 26)]
    + [("pos_" + "a" * 32, "INVALID_STATE")],
)
async def test_an_invalid_position_is_refused(
    api: ApiServer, scene: DonationScene, after: str, code: str
) -> None:
    async with connect_client(api) as client:
        await client.subscribe(TRANSACTIONS, c=ref(scene.webpack), after=after)
        assert await client.error() == code


async def test_operations_over_a_connection_cost_points(world: World) -> None:
    limits = {"rate_capacity": 120, "rate_restore_per_second": 1, "max_cost": 120}
    async with serve_in_process(world.settings, **limits) as api, connect_client(api) as client:
        codes = []
        for number in range(200):
            await client.subscribe("{ __typename }", str(number))
            message = await client.receive()
            if message["type"] == "error":
                codes.append(message["payload"][0]["extensions"]["code"])
                break
            assert (await client.receive())["type"] == "complete"
        assert codes == ["RATE_LIMITED"]
        await client.subscribe(ORDER, "live", id=public_id("Order", unused_id()))
        assert await client.error("live") == "RATE_LIMITED"
