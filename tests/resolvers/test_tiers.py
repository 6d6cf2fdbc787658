"""Tiers: making and changing them, what an order in one costs, places that run out and come back; goals."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from models import now
from models.enums import MemberRole
from tests.conftest import Database
from tests.donation_world import DonationScene, error_code, expect_order
from tests.factories import Person, World, error_codes, money, public_id, ref, unused_id
from tests.statement_counts import record_statements, without_control
from tests.tier_world import TIER, create_tier, event_of, funded_user, order

GOALS = "collective { goals { kind amount { value } reached { value } } }"


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


async def read(scene: DonationScene, tier: str, *, by: Person | None = None) -> Any:
    """Return a tier as its own node, or None."""
    query = "query($id: ID!) { node(id: $id) { ... on Tier { sold left raised { value } name } } }"
    return (await scene.world.query(query, by=by, id=tier))["node"]


async def problem_of(
    scene: DonationScene, mutation: str, *, by: Person | None = None, **arguments: Any
) -> tuple[str, str]:
    """Return code and field of a mutation that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.world.mutate(mutation, by=by or scene.friend, **arguments)
    assert await scene.world.fingerprint() == before
    ((code, path),) = error_codes(payload)
    return code, ".".join(path or [])


async def denied(scene: DonationScene, mutation: str, by: Person | None, **arguments: Any) -> str:
    """Return the code of a mutation that the viewer has no right to; nothing changes."""
    before = await scene.world.fingerprint()
    name = mutation[0].upper() + mutation[1:]
    body = await scene.world.execute(
        f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}", by=by, i=arguments
    )
    assert await scene.world.fingerprint() == before
    if "errors" in body:
        return str(body["errors"][0]["extensions"]["code"])
    return str(body["data"][mutation]["errors"][0]["code"])


async def test_a_tier_is_created_changed_and_archived(scene: DonationScene) -> None:
    world = scene.world
    payload = await world.mutate(
        "createTier",
        TIER,
        by=scene.friend,
        collective=ref(scene.babel),
        type="PRODUCT",
        name=" Mug ",
        description="Blue",
        pricing="FLEXIBLE",
        amount=money("12.00"),
        minimum=money("10.00"),
        presets=[money("10.00"), money("20.00")],
        capacity=5,
        maxPerPerson=2,
        goal=money("60.00"),
    )
    tier = payload["tier"]
    assert tier.pop("id").startswith("tie_")
    assert tier == {
        "type": "PRODUCT",
        "name": "Mug",
        "description": "Blue",
        "pricing": "FLEXIBLE",
        "currency": "USD",
        "amount": {"value": "12.00"},
        "minimum": {"value": "10.00"},
        "presets": [{"value": "10.00"}, {"value": "20.00"}],
        "capacity": 5,
        "maxPerPerson": 2,
        "goal": {"value": "60.00"},
        "sold": 0,
        "left": 5,
        "raised": {"value": "0.00"},
        "isArchived": False,
        "collective": {"slug": scene.babel.slug},
    }
    tier_id = await create_tier(scene)
    changed = await world.mutate(
        "updateTier", TIER, by=scene.friend, id=tier_id, name="Friend", capacity=3, amount=money("11.00")
    )
    assert (changed["tier"]["name"], changed["tier"]["left"], changed["tier"]["amount"]["value"]) == (
        "Friend",
        3,
        "11.00",
    )
    archived = await world.mutate("archiveTier", TIER, by=scene.friend, id=tier_id)
    assert archived["tier"]["isArchived"]
    assert await read(scene, tier_id) is None
    assert await read(scene, tier_id, by=scene.friend) is not None
    assert error_code(await order(scene, tier_id)) == "NOT_FOUND"
    assert await problem_of(scene, "updateTier", id=tier_id, name="x") == ("INVALID_STATE", "input.id")
    assert await problem_of(scene, "archiveTier", id=tier_id) == ("INVALID_STATE", "input.id")
    kinds = "SELECT array_agg(change ORDER BY at) FROM act WHERE kind = 'TIER' AND collective_id = :id"
    assert await world.scalar(kinds, id=scene.babel.id) == ["ADDED", "ADDED", "CHANGED", "CHANGED"]


BAD: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"name": " "}, ("INVALID_INPUT", "input.name")),
    ({"name": "x" * 101}, ("INVALID_INPUT", "input.name")),
    ({"description": "x" * 2001}, ("INVALID_INPUT", "input.description")),
    ({"amount": None}, ("INVALID_INPUT", "input.amount")),
    ({"amount": money("0.00")}, ("INVALID_INPUT", "input.amount.value")),
    ({"amount": money("1.00", "EUR")}, ("INVALID_INPUT", "input.amount.currency")),
    ({"minimum": money("1.00")}, ("INVALID_INPUT", "input.minimum")),
    ({"presets": [money("1.00")]}, ("INVALID_INPUT", "input.presets")),
    ({"pricing": "FLEXIBLE", "minimum": money("10.01")}, ("INVALID_INPUT", "input.amount")),
    (
        {"pricing": "FLEXIBLE", "minimum": money("5.00"), "presets": [money("4.00")]},
        ("INVALID_INPUT", "input.presets"),
    ),
    ({"pricing": "FLEXIBLE", "presets": [money("4.00")] * 7}, ("INVALID_INPUT", "input.presets")),
    ({"capacity": 0}, ("INVALID_INPUT", "input.capacity")),
    ({"maxPerPerson": 1_000_001}, ("INVALID_INPUT", "input.maxPerPerson")),
    ({"opensAt": "2030-01-02T00:00Z", "closesAt": "2030-01-02T00:00Z"}, ("INVALID_INPUT", "input.closesAt")),
    ({"collective": {"slug": "nobody"}}, ("NOT_FOUND", "input.collective")),
]


async def test_an_invalid_term_of_a_tier_is_named(scene: DonationScene) -> None:
    good: dict[str, Any] = {"collective": ref(scene.babel), "type": "TICKET", "name": "Seat"}
    good |= {"amount": money("10.00")}
    for changes, problem in BAD:
        assert await problem_of(scene, "createTier", **(good | changes)) == problem, changes
    own = {"collective": ref(scene.friend)}
    assert await problem_of(scene, "createTier", **(good | own)) == ("INVALID_INPUT", "input.collective")
    tier = await create_tier(scene)
    for changes in ({"pricing": None}, {"position": None}):
        assert (await problem_of(scene, "updateTier", id=tier, **changes))[0] == "INVALID_INPUT"
    archived = await scene.community("closed", scene.host, scene.friend)
    archived.archived_at = now()
    await scene.world.add(archived)
    closed = good | {"collective": ref(archived)}
    assert await problem_of(scene, "createTier", **closed) == ("INVALID_STATE", "input.collective")


async def test_only_admins_make_and_change_tiers(scene: DonationScene) -> None:
    tier = await create_tier(scene)
    new = {"collective": ref(scene.babel), "type": "TICKET", "name": "Seat", "amount": money("10.00")}
    goal = {"collective": ref(scene.babel), "kind": "BALANCE", "amount": money("10.00")}
    backer = await scene.world.person("backer" + scene.suffix)
    await scene.world.member(scene.babel, backer, MemberRole.ACCOUNTANT)
    for person, code in ((None, "UNAUTHENTICATED"), (scene.giver, "FORBIDDEN"), (backer, "FORBIDDEN")):
        assert await denied(scene, "createTier", person, **new) == code
        assert await denied(scene, "updateTier", person, id=tier, name="x") == code
        assert await denied(scene, "archiveTier", person, id=tier) == code
        assert await denied(scene, "setGoal", person, **goal) == code
    assert await problem_of(scene, "updateTier", id=public_id("Tier", unused_id()), name="x") == (
        "NOT_FOUND",
        "input.id",
    )


async def test_a_fixed_tier_costs_its_price(scene: DonationScene) -> None:
    tier = await create_tier(scene)
    paid = (await order(scene, tier, 3))["order"]
    assert (paid["status"], paid["quantity"], paid["amount"]["value"]) == ("PAID", 3, "30.00")
    assert paid["tier"]["sold"] == 3
    same = (await order(scene, tier, value="10.00"))["order"]
    assert (same["quantity"], same["amount"]["value"]) == (1, "10.00")
    refused = await order(scene, tier, 2, value="10.00")
    assert error_codes(refused) == [("INVALID_INPUT", ["input", "amount", "value"])]
    assert (await read(scene, tier))["raised"]["value"] == "40.00"
    assert await scene.world.balance(scene.babel) == (4000, 0)
    await scene.world.assert_clean_ledger()


async def test_a_flexible_tier_has_a_minimum_for_each(scene: DonationScene) -> None:
    tier = await create_tier(scene, amount=None, pricing="FLEXIBLE", minimum=money("5.00"))
    assert expect_order(await order(scene, tier, 2, value="10.00"))
    assert error_codes(await order(scene, tier, 2, value="9.99")) == [
        ("INVALID_INPUT", ["input", "amount", "value"])
    ]


async def test_a_bad_choice_of_a_tier_is_named(scene: DonationScene) -> None:
    tier, other = await create_tier(scene), await create_tier(scene, of=scene.webpack, by=scene.giver)
    past, future = (now() + timedelta(days=days) for days in (-1, 1))
    closed = await create_tier(scene, closesAt=past.isoformat())
    unopened = await create_tier(scene, opensAt=future.isoformat())
    cases: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"tier": other}, ("INVALID_INPUT", "tier")),
        ({"tier": public_id("Tier", unused_id())}, ("NOT_FOUND", "tier")),
        ({"tier": "off_aaaa"}, ("INVALID_INPUT", "tier")),
        ({"tier": closed}, ("INVALID_STATE", "tier")),
        ({"tier": unopened}, ("INVALID_STATE", "tier")),
        ({"quantity": 0}, ("INVALID_INPUT", "quantity")),
        ({"quantity": 1001}, ("INVALID_INPUT", "quantity")),
        ({"tier": None, "quantity": 2}, ("INVALID_INPUT", "quantity")),
    ]
    good: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel), "tier": tier}
    good |= {"amount": money("10.00")}
    for changes, (code, field) in cases:
        found = await problem_of(scene, "donate", by=scene.giver, **(good | changes))
        assert found == (code, f"input.{field}"), changes


async def test_a_thousand_are_bought_at_once(scene: DonationScene) -> None:
    tier = await create_tier(scene, amount="0.10")
    bought = (await order(scene, tier, 1000, value="100.00"))["order"]
    assert (bought["amount"]["value"], bought["tier"]["sold"]) == ("100.00", 1000)
    await scene.world.assert_clean_ledger()


async def test_the_last_place_is_sold_once(scene: DonationScene) -> None:
    tier = await create_tier(scene, amount="1.00", capacity=3)
    assert expect_order(await order(scene, tier, 2, value="2.00"))
    connections = asyncio.Semaphore(8)  # the others wait for one, as they do at a server

    async def buy() -> dict[str, Any]:
        async with connections:
            return await order(scene, tier, value="1.00")

    payloads = await asyncio.gather(*(buy() for _ in range(50)))
    assert Counter(error_code(payload) for payload in payloads) == {None: 1, "LIMIT_EXCEEDED": 49}
    assert {error["message"] for p in payloads for error in p["errors"]} == {"The tier is sold out."}
    assert (await read(scene, tier))["left"] == 0
    assert await scene.world.balance(scene.babel) == (300, 0)
    refused = await scene.world.mutate("updateTier", by=scene.friend, id=tier, capacity=2)
    assert error_codes(refused) == [("INVALID_INPUT", ["input", "capacity"])]
    await scene.world.assert_clean_ledger()


async def test_a_refund_frees_the_places(scene: DonationScene) -> None:
    tier = await create_tier(scene, capacity=2)
    order_id = expect_order(await order(scene, tier, 2))
    assert error_code(await order(scene, tier)) == "LIMIT_EXCEEDED"
    await scene.refund(order_id, "5.00")
    assert await read(scene, tier) == {"sold": 2, "left": 0, "raised": {"value": "15.00"}, "name": "Backer"}
    await scene.refund(order_id)
    assert await read(scene, tier) == {"sold": 0, "left": 2, "raised": {"value": "0.00"}, "name": "Backer"}
    assert expect_order(await order(scene, tier, 2))
    await scene.world.assert_clean_ledger()


async def test_a_bank_transfer_keeps_its_place_for_two_days(scene: DonationScene) -> None:
    tier = await create_tier(scene, capacity=1)
    pending = (await order(scene, tier, paymentMethod="MANUAL"))["order"]
    assert pending["status"] == "PENDING"
    assert pending["expiresAt"] < (now() + timedelta(days=2, minutes=1)).isoformat()
    assert error_code(await order(scene, tier)) == "LIMIT_EXCEEDED"
    await scene.cancel(pending["id"], by=scene.giver)
    again = (await order(scene, tier, paymentMethod="MANUAL"))["order"]
    approved = await scene.world.mutate("approveOrder", "order { status }", by=scene.holder, id=again["id"])
    assert approved["order"]["status"] == "PAID"
    assert (await read(scene, tier))["sold"] == 1
    await scene.world.assert_clean_ledger()


async def test_a_giver_has_as_many_as_the_tier_allows(scene: DonationScene) -> None:
    tier = await create_tier(scene, maxPerPerson=2)
    payloads = await asyncio.gather(*(order(scene, tier) for _ in range(5)))
    assert Counter(error_code(payload) for payload in payloads) == {None: 2, "LIMIT_EXCEEDED": 3}
    assert await scene.world.balance(scene.babel) == (2000, 0)


async def test_a_dry_run_and_a_replay_take_one_place(scene: DonationScene) -> None:
    tier = await create_tier(scene, capacity=1)
    before = await scene.world.fingerprint()
    assert (await order(scene, tier, dryRun=True))["order"]["tier"]["sold"] == 1
    assert await scene.world.fingerprint() == before
    first, second = [await order(scene, tier, idempotencyKey="k" + scene.suffix) for _ in range(2)]
    assert first["order"]["id"] == second["order"]["id"]
    other = await order(scene, tier, 2, idempotencyKey="k" + scene.suffix)
    assert error_code(other) == "IDEMPOTENCY_CONFLICT"
    assert (await read(scene, tier))["sold"] == 1


async def roles(scene: DonationScene, person: Person, slug: str) -> list[str]:
    """Return the open roles of a person in a collective or event."""
    query = "SELECT array_agg(role ORDER BY role) FROM member m JOIN collective c ON c.id = m.collective_id"
    value = await scene.world.scalar(
        query + " WHERE c.slug = :s AND m.member_id = :id AND m.until IS NULL", s=slug, id=person.user.id
    )
    return list(value or [])


async def test_a_ticket_registers_its_buyer_until_it_is_refunded(scene: DonationScene) -> None:
    event = await event_of(scene, capacity=1)
    tier = await create_tier(scene, of=event, kind="TICKET", capacity=5)
    ann, bob = await funded_user(scene, "ann"), await funded_user(scene, "bob")
    bought = (await order(scene, tier, 2, by=ann, from_=ann))["order"]
    assert (bought["status"], bought["event"]["slug"]) == ("PAID", event.slug)
    assert await roles(scene, ann, event.slug) == ["ATTENDEE"]
    assert await roles(scene, ann, scene.babel.slug) == ["BACKER"]
    full = await order(scene, tier, by=bob, from_=bob)
    assert error_codes(full) == [("LIMIT_EXCEEDED", ["input", "event"])]
    await scene.world.mutate("registerForEvent", by=bob, event=ref(event))
    await scene.refund(bought["id"])
    assert await roles(scene, ann, event.slug) == []
    assert await roles(scene, bob, event.slug) == ["ATTENDEE"]
    assert expect_order(await order(scene, tier, by=bob, from_=bob))
    await scene.world.assert_clean_ledger()


async def test_tickets_of_an_event_that_is_over_or_private_are_not_sold(scene: DonationScene) -> None:
    event = await event_of(scene, is_public=False)
    tier = await create_tier(scene, of=event, kind="TICKET")
    assert error_code(await order(scene, tier)) == "NOT_FOUND"
    assert await read(scene, tier, by=scene.giver) is None
    assert await read(scene, tier, by=scene.friend) is not None
    await scene.world.member(event, scene.giver, MemberRole.ATTENDEE)
    order_id = expect_order(await order(scene, tier))
    query = "query($id: ID!) { order(id: $id) { quantity tier { name } event { slug } } }"
    seen = (await scene.world.query(query, id=order_id))["order"]
    assert seen == {"quantity": 1, "tier": None, "event": None}
    event = await event_of(scene, "party")
    tier = await create_tier(scene, of=event, kind="TICKET")
    await scene.world.mutate("cancelEvent", by=scene.friend, event=ref(event), reason="rain")
    assert error_code(await order(scene, tier)) == "INVALID_STATE"


async def test_tiers_are_listed_in_their_order_with_one_statement(scene: DonationScene) -> None:
    tier = ""
    for name, position in (("second", 2), ("first", 1), ("third", 3)):
        tier = await create_tier(scene, name=name, position=position)
    await order(scene, tier)
    query = "query($s: String!) { collective(slug: $s) { tiers { name left raised { value } } } }"
    with record_statements(scene.world.sessions.kw["bind"]) as statements:
        data = await scene.world.query(query, s=scene.babel.slug)
    assert [row["name"] for row in data["collective"]["tiers"]] == ["first", "second", "third"]
    assert [row["raised"]["value"] for row in data["collective"]["tiers"]] == ["0.00", "0.00", "10.00"]
    assert len(without_control(statements)) == 1
    orders = "query($t: ID!) { orders(filter: {tier: $t}) { nodes { tier { name } quantity } } }"
    data = await scene.world.query(orders, t=tier)
    assert data["orders"]["nodes"] == [{"tier": {"name": "third"}, "quantity": 1}]


async def test_goals_tell_how_much_is_there(scene: DonationScene) -> None:
    world = scene.world
    order_id, payload = expect_order(await scene.donate("30.00")), {}
    for kind, value in (("RAISED", "90.00"), ("BALANCE", "50.00"), ("RAISED", "100.00")):
        payload = await world.mutate(
            "setGoal", GOALS, by=scene.friend, collective=ref(scene.babel), kind=kind, amount=money(value)
        )
    back: dict[str, Any] = {"from": ref(scene.babel), "to": ref(scene.webpack), "amount": money("5.00")}
    await world.mutate("transferFunds", by=scene.friend, **back)
    await scene.refund(order_id, "10.00")
    query = f"query($s: String!) {{ {GOALS.replace('collective', 'collective(slug: $s)')} }}"
    goals = (await world.query(query, s=scene.babel.slug))["collective"]["goals"]
    assert [goal["kind"] for goal in payload["collective"]["goals"]] == ["BALANCE", "RAISED"]
    assert goals == [
        {"kind": "BALANCE", "amount": {"value": "50.00"}, "reached": {"value": "15.00"}},
        {"kind": "RAISED", "amount": {"value": "100.00"}, "reached": {"value": "20.00"}},
    ]
    ended = await world.mutate("setGoal", GOALS, by=scene.friend, collective=ref(scene.babel), kind="RAISED")
    assert [goal["kind"] for goal in ended["collective"]["goals"]] == ["BALANCE"]
    for changes, problem in (
        ({"amount": money("1.00", "EUR")}, ("INVALID_INPUT", "input.amount.currency")),
        ({"collective": ref(scene.friend)}, ("INVALID_INPUT", "input.collective")),
    ):
        good: dict[str, Any] = {"collective": ref(scene.babel), "kind": "RAISED", "amount": money("1.00")}
        assert await problem_of(scene, "setGoal", **(good | changes)) == problem
