"""The demo world: who is in it, what it shows, and that it is the same every time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import OrderStatus
from schema.demo import cards, volunteers
from schema.demo import world as demo_world
from services.collectives import platform_policy
from services.core import public_ids
from services.core.errors import Conflict
from services.database import engine as database_engine
from tests.conftest import Database
from tests.factories import World

COLLECTIVES = {
    "opensource": ("NONPROFIT", "USD", "opensource"),
    "wwcode": ("NONPROFIT", "USD", "wwcode"),
    "webpack": ("COMMUNITY", "USD", "opensource"),
    "wwcodeberlin": ("COMMUNITY", "EUR", "wwcode"),
    "digitalocean": ("BUSINESS", "USD", None),
    "xdamman": ("USER", "USD", "commonweal"),
}
SIGN_INS = ["xdamman", "admin", *(f"{s}-admin" for s, (kind, *_) in COLLECTIVES.items() if kind != "USER")]
SIGN_IN = """mutation($i: SignInInput!) { signIn(input: $i) {
    user { slug } session { token } errors { code message } } }"""
# What makes two demo worlds equal: everything but ids, moments and what is derived from them.
SAME = {
    "collective": """SELECT c.slug, c.type, c.name, c.currency, h.slug, p.slug, c.host_fee_bps, c.tags::text,
        c.capacity, c.is_public, c.host_approved_at IS NOT NULL, c.claimed_at IS NOT NULL
        FROM collective c LEFT JOIN collective h ON h.id = c.host_id
        LEFT JOIN collective p ON p.id = c.parent_id
        WHERE c.type NOT IN ('EVENT') AND c.claimed_at IS NOT NULL OR c.type NOT IN ('EVENT', 'USER')""",
    "event": "SELECT e.name, p.slug, e.is_public FROM collective e JOIN collective p ON p.id = e.parent_id",
    "member": """SELECT c.name, m.name, r.role, r.until IS NULL FROM member r
        JOIN collective c ON c.id = r.collective_id JOIN collective m ON m.id = r.member_id""",
    "order": """SELECT f.slug, t.slug, o.type, o.status, o.amount, o.approved_amount, o.currency,
        o.description
        FROM "order" o JOIN collective f ON f.id = o.from_id JOIN collective t ON t.id = o.to_id""",
    "order_action": """SELECT o.description, a.type, a.from_status, a.to_status, a.amount, a.reason
        FROM order_action a JOIN "order" o ON o.id = a.order_id""",
    "transaction": """SELECT kind, currency, amount, fx_rate::text, gross, platform_fee, host_fee,
        to_host_amount, to_collective_amount, from_collective_amount FROM transaction""",
    "subscription": """SELECT f.slug, t.slug, s.status, s.amount_minor, s.currency, s.interval, s.description
        FROM subscription s JOIN collective f ON f.id = s.from_id JOIN collective t ON t.id = s.to_id""",
    "ledger_account": """SELECT b.slug, o.slug, a.currency, a.kind, a.posted, a.held, a.seq
        FROM ledger_account a JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id""",
    "fx_rate": "SELECT base, quote, rate::text FROM fx_rate WHERE source <> 'ECB'",
}


@asynccontextmanager
async def loaded(make_database: Callable[[], Database]) -> AsyncIterator[World]:
    """Load the demo world into a separate database."""
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    world = World(database.settings, database_engine.session_factory(engine))
    try:
        async with world.sessions() as session, session.begin():
            world.platform = await platform_policy.ensure_platform(session)
        await demo_world.load(world.sessions, world.settings)
        yield world
    finally:
        await engine.dispose()


@pytest.fixture(scope="module")
async def two(make_database: Callable[[], Database]) -> AsyncIterator[tuple[World, World]]:
    async with loaded(make_database) as first, loaded(make_database) as second:
        yield first, second


@pytest.fixture(scope="module")
def world(two: tuple[World, World]) -> World:
    return two[0]


async def rows(world: World, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement in an order of their own."""
    async with world.sessions() as session:
        return sorted(((*row,) for row in (await session.execute(text(statement))).all()), key=repr)


@pytest.mark.parametrize("slug", COLLECTIVES)
async def test_demo_collectives_exist_as_documented(world: World, slug: str) -> None:
    query = "query($s: String!) { collective(slug: $s) { type currency host { slug } } }"
    collective = (await world.query(query, s=slug))["collective"]
    host = collective["host"]["slug"] if collective["host"] else None
    assert (collective["type"], collective["currency"], host) == COLLECTIVES[slug]


async def test_a_demo_collective_has_yen(world: World) -> None:
    assert await rows(world, "SELECT slug FROM collective WHERE currency = 'JPY'")


@pytest.mark.parametrize("name", SIGN_INS)
async def test_demo_users_sign_in_with_oc(world: World, name: str) -> None:
    arguments = {"email": f"{name}@commonweal.test", "password": "oc"}
    sign_in = (await world.query(SIGN_IN, i=arguments))["signIn"]
    assert sign_in["errors"] == []
    query = "{ me { slug memberOf(role: [ADMIN]) { nodes { collective { slug type } } } } }"
    me = (await world.query(query, by=sign_in["session"]["token"]))["me"]
    admin_of = [c["slug"] for node in me["memberOf"]["nodes"] if (c := node["collective"])["type"] != "EVENT"]
    if name == "admin":
        assert admin_of == ["commonweal"]
    elif name.endswith("-admin"):
        assert admin_of == [name.removesuffix("-admin")]
    else:
        assert me["slug"] == name


async def test_demo_orders_have_every_status(world: World) -> None:
    results = {status for (status,) in await rows(world, 'SELECT DISTINCT status FROM "order"')}
    assert results == {*OrderStatus}


async def test_the_demo_has_an_incognito_gift(world: World) -> None:
    query = """{ orders(filter: {to: {slug: "webpack"}}, first: 100) {
        nodes { isIncognito from { slug } amount { value } } } }"""
    nodes = (await world.query(query))["orders"]["nodes"]
    hidden = [node for node in nodes if node["isIncognito"]]
    assert hidden == [{"isIncognito": True, "from": None, "amount": {"value": "7.00"}}]


async def test_demo_gifts_have_every_status_that_lasts(world: World) -> None:
    statement = "SELECT status, count(*) FROM subscription GROUP BY 1"
    assert dict(await rows(world, statement)) == {
        "ACTIVE": 3,
        "PAST_DUE": 2,
        "PAUSED": 1,
        "CANCELLED": 1,
        "ENDED": 1,
    }


async def test_the_demo_has_a_dispute_and_a_guest_who_claimed(world: World) -> None:
    dispute = "SELECT dispute_status, is_dispute_held FROM provider_payment WHERE dispute_id IS NOT NULL"
    assert await rows(world, dispute) == [("OPEN", True)]
    sign_in = (await world.query(SIGN_IN, i={"email": cards.GUEST, "password": "oc"}))["signIn"]
    query = """query($s: String!) { orders(filter: {from: {slug: $s}}) { nodes { status description } } }"""
    given = (await world.query(query, s=sign_in["user"]["slug"]))["orders"]["nodes"]
    assert given == [{"status": "PAID", "description": "Given as a guest"}]


async def test_the_worked_example_is_exact_to_the_cent(world: World) -> None:
    query = """{ orders(filter: {from: {slug: "webpack"}, to: {slug: "wwcodeberlin"}}) { nodes {
        transactions { toHostAmount { minorUnits } toCollectiveAmount { minorUnits }
        fromCollectiveAmount { minorUnits } paymentProcessorFeeInHostCurrency { minorUnits } } } } }"""
    (order,) = (await world.query(query))["orders"]["nodes"]
    (transactions,) = order["transactions"]
    figures = {name: int(amount["minorUnits"]) for name, amount in transactions.items()}
    assert figures == {
        "toHostAmount": 10544,
        "toCollectiveAmount": 8684,
        "fromCollectiveAmount": -11481,
        "paymentProcessorFeeInHostCurrency": 363,
    }


async def test_the_ledger_of_the_demo_is_clean(world: World) -> None:
    await world.assert_clean_ledger()


async def test_every_balance_of_the_demo_is_the_sum_of_the_listed_postings(world: World) -> None:
    token = (await world.query(SIGN_IN, i={"email": "admin@commonweal.test", "password": "oc"}))["signIn"]
    query = """query($id: ID!, $after: String) { node(id: $id) { ... on LedgerAccount {
        balance { minorUnits }
        statement { openingBalance { minorUnits } closingBalance { minorUnits } postingCount }
        postings(first: 100, after: $after) {
            nodes { amount { minorUnits } } pageInfo { hasNextPage endCursor } } } } }"""
    numbers = await rows(world, "SELECT id FROM ledger_account")
    assert len(numbers) > 20
    for (number,) in numbers:
        amounts: list[int] = []
        account_id, after, has_more = public_ids.encode("LedgerAccount", UUID(int=number)), None, True
        account: dict[str, Any] = {}
        while has_more:
            account = (await world.query(query, by=token["session"]["token"], id=account_id, after=after))[
                "node"
            ]
            after, has_more = (account["postings"]["pageInfo"][name] for name in ("endCursor", "hasNextPage"))
            amounts += [int(p["amount"]["minorUnits"]) for p in account["postings"]["nodes"]]
        statement = account["statement"]
        opening, closing = (int(statement[f"{name}Balance"]["minorUnits"]) for name in ("opening", "closing"))
        assert len(amounts) == int(statement["postingCount"])
        assert opening + sum(amounts) == closing == int(account["balance"]["minorUnits"])


async def test_no_demo_mail_is_queued_and_none_contains_a_token(world: World) -> None:
    assert (
        await rows(world, "SELECT id FROM outbox WHERE delivered_at IS NULL OR payload::text <> '{}'") == []
    )
    assert await world.scalar("SELECT count(*) FROM outbox") > 0


@pytest.mark.parametrize("table", SAME)
async def test_the_demo_is_reproducible(two: tuple[World, World], table: str) -> None:
    first, second = await asyncio.gather(*(rows(world, SAME[table]) for world in two))
    assert first
    assert first == second


async def test_the_demo_is_not_loaded_twice(world: World) -> None:
    before = await world.fingerprint()
    with pytest.raises(Conflict, match="has data"):
        await demo_world.load(world.sessions, world.settings)
    assert await world.fingerprint() == before


@pytest.mark.parametrize(
    ("slug", "kind", "name", "admins"),
    [
        ("greatdeeds", "NONPROFIT", "GreatDeeds", ["Chris GreatDeedsAdmin", "Ed GreatDeedsAdmin"]),
        ("goodvibes", "NONPROFIT", "GoodVibes", ["Kate GoodVibesAdmin"]),
        ("consciousbiz", "BUSINESS", "ConsciousBiz", ["Andrew ConsciousBizAdmin", "Mark ConsciousBizAdmin"]),
        ("greenbiz", "BUSINESS", "GreenBiz", ["Ann GreenBizAdmin"]),
    ],
)
async def test_the_four_organizations_have_their_admins(
    world: World, slug: str, kind: str, name: str, admins: list[str]
) -> None:
    query = """query($s: String!) { collective(slug: $s) { type name
        members(role: [ADMIN]) { nodes { member { name } } } } }"""
    collective = (await world.query(query, s=slug))["collective"]
    assert (collective["type"], collective["name"]) == (kind, name)
    assert sorted(node["member"]["name"] for node in collective["members"]["nodes"]) == admins


@pytest.mark.parametrize("slug", volunteers.PEOPLE)
async def test_the_eight_people_sign_in_with_oc(world: World, slug: str) -> None:
    arguments = {"email": f"{slug.replace('-', '_')}@opencurrents.com", "password": "oc"}
    sign_in = (await world.query(SIGN_IN, i=arguments))["signIn"]
    assert sign_in["errors"] == []
    assert sign_in["user"]["slug"] == slug


async def test_projects_requests_offers_and_redemptions_are_as_many_as_in_opencurrents(world: World) -> None:
    assert await rows(
        world, "SELECT count(*) FROM collective WHERE slug LIKE 'lets-%' AND type = 'COMMUNITY'"
    ) == [(10,)]
    events = "SELECT count(*) FROM collective WHERE type = 'EVENT' AND name LIKE 'Let''s %'"
    assert 1 <= await world.scalar(events) <= 20
    request = "SELECT status, count(*) FROM \"order\" WHERE type = 'HOURS' AND event_id IS NULL GROUP BY 1"
    assert await rows(world, request) == [("PAID", 10), ("PENDING", 10), ("REJECTED", 10)]
    offers = "SELECT c.slug, array_agg(o.item ORDER BY o.item) FROM offer o JOIN collective c ON c.id ="
    assert await rows(world, offers + " o.business_id GROUP BY 1") == [
        (slug, ["All products", "Jun", "Kombucha"]) for slug in ("consciousbiz", "greenbiz")
    ]
    redeemed = "SELECT status, count(*) FROM \"order\" WHERE type = 'REDEMPTION' GROUP BY 1"
    assert await rows(world, redeemed) == [
        ("APPROVED", 5),
        ("PAID", 5),
        ("PENDING", 5),
        ("REJECTED", 5),
    ]


async def test_the_demos_tags_are_counted(world: World) -> None:
    tags = (await world.query("{ tags(first: 2) { name count } }"))["tags"]
    assert sorted(tag["name"] for tag in tags) == ["javascript", "open source"]
    assert {tag["count"] for tag in tags} == {3}


async def test_a_redemption_of_the_demo_moved_its_currents_once(world: World) -> None:
    doubled = """SELECT o.id FROM "order" o JOIN transaction t ON t.order_id = o.id AND t.kind = 'REDEMPTION'
        WHERE o.type = 'REDEMPTION' GROUP BY o.id
        HAVING count(*) <> 1 OR sum(t.amount) <> max(o.approved_amount)"""
    assert await rows(world, doubled) == []


async def test_the_demo_has_past_and_coming_events(world: World) -> None:
    assert await world.scalar("SELECT count(*) FROM attendance") > 0
    registered = """SELECT count(*) FROM member m JOIN collective e ON e.id = m.collective_id
        WHERE m.role = 'ATTENDEE' AND e.starts_at > now()"""
    assert await world.scalar(registered) > 0
