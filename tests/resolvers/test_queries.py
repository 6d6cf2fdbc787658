"""Lists: pages without gaps, orders, filters, counts, ids of any type; and how many statements they cost."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Collective, Member, Order, now
from models.enums import CollectiveType, MemberRole, OrderStatus, OrderType, TransactionKind
from services.core import public_ids
from services.core.party import OUTSIDE, Party
from services.database import engine as database_engine
from services.database import read_connections
from services.ledger import exchange_rates, posting, transaction_amounts
from services.ledger.legs import posting_legs
from services.ledger.transaction_amounts import FeeTerms
from tests.conftest import MakeDatabase
from tests.factories import Person, World, public_id
from tests.statement_counts import record_statements, without_control

AT = datetime(2020, 1, 1, 12, tzinfo=UTC)
MANY = 120
NAMES = ("Same", "Same\u00a0")
"""The second ends in a space that does not break, which is a name as good as any."""


@dataclass
class Crowd:
    """A world with many of everything, most of it at one and the same moment."""

    world: World
    engine: AsyncEngine
    ada: Person
    host: Collective
    club: Collective
    other: Collective
    expected: dict[str, set[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
async def crowd(make_database: MakeDatabase) -> AsyncIterator[Crowd]:
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    world = await World.create(database.settings, database_engine.session_factory(engine))
    ada = await world.person("ada")
    host = await world.host("host", ada)
    club, other = await world.community("club", host, ada), await world.community("other", host, ada)
    result = Crowd(world, engine, ada, host, club, other)
    await populate(result)
    yield result
    await engine.dispose()


async def populate(crowd: Crowd) -> None:
    """Create members, events and orders with equal times, and transactions of one past time."""
    club, user_type = crowd.club, CollectiveType.USER
    users = [
        Collective(
            slug=f"user-{i}", type=user_type, name=NAMES[i % 2], currency="USD", created_at=AT, claimed_at=AT
        )
        for i in range(MANY)
    ]
    members = [
        Member(collective_id=club.id, member_id=user.id, role=MemberRole.MEMBER, since=AT) for user in users
    ]
    events = [
        Collective(
            slug=f"event-{i}",
            type=CollectiveType.EVENT,
            name="Same",
            currency="USD",
            created_at=AT,
            parent_id=club.id,
            starts_at=AT,
            ends_at=AT + timedelta(hours=1),
        )
        for i in range(MANY)
    ]
    orders = [
        Order(
            type=OrderType.EXPENSE,
            status=OrderStatus.PENDING,
            from_id=club.id,
            to_id=crowd.other.id,
            currency="USD",
            amount=1 + i,
            created_at=AT,
            created_by_id=crowd.ada.user.id,
        )
        for i in range(MANY)
    ]
    async with crowd.world.sessions() as session, session.begin():
        for rows in (users, events, members, orders):
            session.add_all(rows)
            await session.flush()
        await post_history(crowd, session)
    crowd.expected["Collective"] = {public_id("Collective", row.id) for row in users + events}
    crowd.expected["Member"] = {public_id("Member", row.id) for row in members}
    crowd.expected["Order"] = {public_id("Order", row.id) for row in orders}
    crowd.expected["Event"] = {public_id("Collective", row.id) for row in events}


async def post_history(crowd: Crowd, session: Any) -> None:
    """Post a balance of the club and many movements from it, which need no orders, all at one past moment."""
    club, other = Party(crowd.club, crowd.host), Party(crowd.other, crowd.host)
    moves = [(OUTSIDE, club, 10**6, TransactionKind.OPENING_BALANCE)]
    moves += [(club, other, 100, TransactionKind.MERGE)] * MANY
    transfers = set()
    for payer, payee, amount, kind in moves:
        quotes = await exchange_rates.load_quotes(
            session, transaction_amounts.required_rates("USD", payer, payee)
        )
        result = transaction_amounts.compute_amounts(
            amount, "USD", payer, payee, terms=FeeTerms(), quotes=quotes
        )
        row = posting.transaction_row(result, payer, payee, kind=kind, order=None, at=AT)
        legs = posting_legs(result, payer, payee, platform_id=crowd.world.platform.id)
        await posting.post(session, row=row, legs=legs)
        if kind is TransactionKind.MERGE:
            transfers.add(public_id("Transaction", row["id"]))
    crowd.expected["Transaction"] = transfers


MOVEMENTS = "transactions(filter: { kind: MERGE }"
LISTS = {
    "collectives": ("collectives(filter: { type: [USER, EVENT] }, ", "Collective", "createdAt", True),
    "collectives by name": (
        'collectives(filter: { search: "same" }, orderBy: NAME_ASC, ',
        "Collective",
        "name",
        False,
    ),
    "members": ('collective(slug: "club") { members(role: MEMBER, ', "Member", "since", False),
    "events": ('collective(slug: "club") { events(', "Event", "startsAt", False),
    "orders": ("orders(filter: { type: EXPENSE }, ", "Order", "createdAt", True),
    "orders, oldest first": ("orders(orderBy: CREATED_AT_ASC, ", "Order", "createdAt", False),
    "orders of a side": ('collective(slug: "club") { orders(', "Order", "createdAt", True),
    "transactions": (f"{MOVEMENTS}, ", "Transaction", "createdAt", True),
    "transactions, oldest first": (
        f"{MOVEMENTS}, orderBy: CREATED_AT_ASC, ",
        "Transaction",
        "createdAt",
        False,
    ),
    "transactions of a side": (
        f'collective(slug: "other") {{ {MOVEMENTS}, ',
        "Transaction",
        "createdAt",
        True,
    ),
}


async def page(
    crowd: Crowd, name: str, size: int, cursor: str | None = None, *, backward: bool = False
) -> dict[str, Any]:
    """Return a page of a list, and check that it agrees with itself."""
    head, _, key, _ = LISTS[name]
    fields = f"edges {{ cursor node {{ id key: {key} }} }} nodes {{ id }} totalCount pageInfo {{ hasNextPage "
    fields += "hasPreviousPage startCursor endCursor }"
    arguments = "last: $n, before: $c" if backward else "first: $n, after: $c"
    query = f"query($n: Int, $c: String) {{ {head}{arguments}) {{ {fields} }} }}"
    data = await crowd.world.query(query + " }" * head.count(") {"), by=crowd.world.admin, n=size, c=cursor)
    result: dict[str, Any] = next(iter(data.values()))
    if "edges" not in result:
        result = next(iter(result.values()))
    assert [edge["node"]["id"] for edge in result["edges"]] == [node["id"] for node in result["nodes"]]
    info, cursors = result["pageInfo"], [edge["cursor"] for edge in result["edges"]]
    assert (info["startCursor"], info["endCursor"]) == (cursors[0], cursors[-1])
    assert info["hasNextPage" if backward else "hasPreviousPage"] == (cursor is not None)
    return result


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("size", [100, 37])
async def test_pages_contain_each_row_once_and_in_order(crowd: Crowd, name: str, size: int) -> None:
    _, kind, _, descending = LISTS[name]
    rows: list[tuple[str, str]] = []
    after, total = None, None
    while True:
        result = await page(crowd, name, size, after)
        rows += [(edge["node"]["key"], edge["node"]["id"]) for edge in result["edges"]]
        total, after = result["totalCount"], result["pageInfo"]["endCursor"]
        if not result["pageInfo"]["hasNextPage"]:
            break
        assert len(result["edges"]) == size
    named = "Collective" if kind == "Event" else kind
    keyed = [(key, public_ids.decode(named, row_id, field="id")) for key, row_id in rows]
    assert keyed == sorted(keyed, reverse=descending)
    assert len({row_id for _, row_id in rows}) == len(rows) == total
    assert {row_id for _, row_id in rows} >= crowd.expected[kind]
    again = await page(crowd, name, 1, result["edges"][0]["cursor"]) if len(result["edges"]) > 1 else None
    assert again is None or again["nodes"] == result["nodes"][1:2]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("size", [100, 37])
async def test_pages_read_backward_contain_the_same_rows(crowd: Crowd, name: str, size: int) -> None:
    whole, after = [], None
    while True:
        result = await page(crowd, name, 100, after)
        whole += [node["id"] for node in result["nodes"]]
        after = result["pageInfo"]["endCursor"]
        if not result["pageInfo"]["hasNextPage"]:
            break
    rows: list[str] = []
    before = None
    while True:
        result = await page(crowd, name, size, before, backward=True)
        rows[:0] = [node["id"] for node in result["nodes"]]
        assert result["totalCount"] == len(whole)
        before = result["pageInfo"]["startCursor"]
        if not result["pageInfo"]["hasPreviousPage"]:
            break
        assert len(result["edges"]) == size
    assert rows == whole
    assert (await page(crowd, name, 2))["nodes"] == [{"id": row_id} for row_id in whole[:2]]


@pytest.mark.parametrize("name", LISTS)
async def test_pages_of_both_directions_are_refused(crowd: Crowd, name: str) -> None:
    head, _, _, _ = LISTS[name]
    cursor = (await page(crowd, name, 1))["pageInfo"]["endCursor"]
    for arguments, name_of_bad in (
        ("first: 1, last: 1", "first"),
        ("first: 1, before: $c", "first"),
        ("after: $c, last: 1", "after"),
        ("after: $c, before: $c", "after"),
        ("last: 0", "last"),
        ("last: 101, before: $c", "last"),
        ('last: 1, before: "x"', "before"),
    ):
        declared = "($c: String)" if "$c" in arguments else ""
        query = f"query{declared} {{ x: __typename {head}{arguments}) {{ nodes {{ id }} }} }}"
        body = await crowd.world.execute(query + " }" * head.count(") {"), c=cursor)
        (error,) = body["errors"]
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("INVALID_INPUT", [name_of_bad])


@pytest.mark.parametrize("name", LISTS)
async def test_an_invalid_page_is_refused(crowd: Crowd, name: str) -> None:
    head, _, _, _ = LISTS[name]
    query = f"query($n: Int, $c: String) {{ {head}first: $n, after: $c) {{ nodes {{ id }} }} }}"
    query += " }" * head.count(") {")

    async def problem(first: int, after: str | None = None) -> tuple[str, tuple[str, ...]]:
        body = await crowd.world.execute(query, n=first, c=after)
        assert "nodes" not in str(body.get("data"))
        (error,) = body["errors"]
        return error["extensions"]["code"], tuple(error["extensions"].get("path") or ())

    for first in (0, -1, 101, 2**31 - 1):
        assert await problem(first) == ("INVALID_INPUT", ("first",))
    cursor = (await page(crowd, name, 1))["pageInfo"]["endCursor"]
    for other in LISTS:
        foreign = (await page(crowd, other, 1))["pageInfo"]["endCursor"]
        if (
            orjson.loads(base64.urlsafe_b64decode(foreign))[0]
            != orjson.loads(base64.urlsafe_b64decode(cursor))[0]
        ):
            assert await problem(1, foreign) == ("INVALID_INPUT", ("after",)), other
    kind, value, row_id = orjson.loads(base64.urlsafe_b64decode(cursor))
    broken: list[Any] = [
        [kind, value],
        [kind, None, row_id],
        [kind, value, 5],
        [kind, value, None],
        [kind, value, "x"],
        [kind, 5, row_id],
        {"a": 1},
        5,
        None,
        "x",
        [kind, "x\x00", row_id],
        [kind, [value], row_id],
        [kind, value, row_id, 1],
    ]
    texts = [base64.urlsafe_b64encode(orjson.dumps(b)).decode() for b in broken]
    for text in (*texts, "", "x", "é", cursor[:-4], cursor[4:], "A" * 10_000):
        assert await problem(1, text) == ("INVALID_INPUT", ("after",)), text


async def test_a_cursor_is_refused_for_another_type(crowd: Crowd) -> None:
    cursor = (await page(crowd, "collectives", 1))["pageInfo"]["endCursor"]
    body = await crowd.world.execute("query($c: String) { orders(after: $c) { nodes { id } } }", c=cursor)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["INVALID_INPUT"]


async def test_a_page_has_twenty_rows_by_default(crowd: Crowd) -> None:
    data = await crowd.world.query("{ orders { nodes { id } } all: orders(first: null) { nodes { id } } }")
    assert [len(part["nodes"]) for part in data.values()] == [20, 20]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("orders(filter: { type: [EXPENSE] })", MANY),
        ("orders(filter: { type: [DONATION] })", 0),
        ("orders(filter: { type: [] })", MANY),
        ("orders(filter: { status: PENDING, type: EXPENSE })", MANY),
        ("orders(filter: { status: [APPROVED, PAID] })", 0),
        ('orders(filter: { from: { slug: "club" } })', MANY),
        ('orders(filter: { to: { slug: "club" } })', 0),
        ('orders(filter: { from: { slug: "club" }, to: { slug: "other" } })', MANY),
        ('orders(filter: { createdFrom: "2020-01-01T12:00Z" })', MANY),
        ('orders(filter: { createdUntil: "2020-01-01T12:00Z" })', 0),
        ('orders(filter: { createdFrom: "2020-01-01T14:00:00.000001+02:00" })', 0),
        ('orders(filter: { createdUntil: "2020-01-01T12:00:00.000001Z" })', MANY),
        ("transactions(filter: { kind: MERGE })", MANY),
        ("transactions(filter: { kind: [OPENING_BALANCE] })", 1),
        ("transactions(filter: { kind: [OPENING_BALANCE, MERGE] })", MANY + 1),
        ('transactions(filter: { from: { slug: "club" } })', MANY),
        ('transactions(filter: { to: { slug: "club" } })', 1),
        ('transactions(filter: { atFrom: "2020-01-01T12:00Z", atUntil: "2020-01-01T12:00:01Z" })', MANY + 1),
        ('transactions(filter: { atUntil: "2020-01-01T12:00Z" })', 0),
        ("collectives(filter: { type: EVENT })", MANY),
        ("collectives(filter: { type: [COMMUNITY, NONPROFIT] })", 4),
        ('collectives(filter: { host: { slug: "host" } })', 3),
        ('collectives(filter: { search: "club" })', 1),
        ('collectives(filter: { search: "CLU" })', 1),
        ('collectives(filter: { search: "%" })', 0),
        ('collectives(filter: { search: "_" })', 0),
        ('collectives(filter: { search: "event-1" })', 1 + 10 + 20),
        ('collectives(filter: { tag: "none" })', 0),
        ("collectives(filter: { isArchived: true })", 0),
    ],
)
async def test_filters_return_only_matching_rows(crowd: Crowd, query: str, count: int) -> None:
    data = await crowd.world.query(f"{{ {query[:-1]}, first: 1) {{ totalCount nodes {{ id }} }} }}")
    (part,) = data.values()
    assert (part["totalCount"], len(part["nodes"])) == (count, min(count, 1))


async def test_node_and_nodes_return_any_type_and_null_for_missing_rows(crowd: Crowd) -> None:
    world, fields = crowd.world, "__typename id"
    ada, club, host = (public_id("Collective", row.id) for row in (crowd.ada.user, crowd.club, crowd.host))
    known = [
        ("User", ada),
        ("Community", club),
        ("Nonprofit", host),
        ("Event", min(crowd.expected["Event"])),
        ("Member", min(crowd.expected["Member"])),
        ("Order", min(crowd.expected["Order"])),
        ("Transaction", min(crowd.expected["Transaction"])),
    ]
    unknown = [public_id(kind, crowd.ada.user.id) for kind in public_ids.PREFIXES if kind != "Collective"]
    request = [row_id for _, row_id in known] + unknown + [known[0][1]]
    data = await world.query(f"query($i: [ID!]!) {{ nodes(ids: $i) {{ {fields} }} }}", i=request)
    there = [{"__typename": name, "id": row_id} for name, row_id in known]
    assert data["nodes"] == [*there, *[None] * len(unknown), there[0]]
    for name, row_id in known:
        one = await world.query(f"query($i: ID!) {{ node(id: $i) {{ {fields} }} }}", i=row_id)
        assert one["node"] == {"__typename": name, "id": row_id}


async def test_an_id_of_another_type_is_refused(crowd: Crowd) -> None:
    order, club = min(crowd.expected["Order"]), public_id("Collective", crowd.club.id)
    for query, arguments in (
        ("order(id: $i) { id }", club),
        ("transaction(id: $i) { id }", order),
        ("collective(id: $i) { id }", order),
        ("transactions(filter: { order: $i }) { totalCount }", club),
        ("node(id: $i) { id }", "ord_x"),
        ("node(id: $i) { id }", ""),
        ("node(id: $i) { id }", "user_" + club[4:]),
        ("nodes(ids: [$i]) { id }", "col_" + "a" * 100),
    ):
        body = await crowd.world.execute(f"query($i: ID!) {{ {query} }}", i=arguments)
        assert [error["extensions"]["code"] for error in body["errors"]] == ["INVALID_INPUT"], query
    many = await crowd.world.execute("query($i: [ID!]!) { nodes(ids: $i) { id } }", i=[club] * 101)
    assert [error["extensions"]["code"] for error in many["errors"]] == ["INVALID_INPUT"]


async def test_a_bad_id_among_good_ones_leaves_no_connection_behind(crowd: Crowd) -> None:
    club, order = public_id("Collective", crowd.club.id), min(crowd.expected["Order"])
    body = await crowd.world.execute("query($i: [ID!]!) { nodes(ids: $i) { id } }", i=["x", club, order])
    await asyncio.sleep(0.1)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["INVALID_INPUT"]
    kept = read_connections.idle_count(crowd.engine)
    assert f"Current Checked out connections: {kept}" in crowd.engine.pool.status()


async def test_a_rate_is_direct_inverse_or_a_cross_at_its_time(world: World) -> None:
    rates = [("EUR", "USD", "1.25", 10), ("EUR", "USD", "1.10", 1), ("EUR", "JPY", "165", 1)]
    for base, quote, rate, days in [*rates, ("GBP", "USD", "1.30", 1)]:
        await world.rate(base, quote, rate, days_ago=days)
    week_ago, long_ago = (now() - timedelta(days=days) for days in (7, 100))

    async def rate_of(base: str, quote: str, at: datetime | None = None) -> str | None:
        query = """query($a: DateTime, $f: CurrencyCode!, $t: CurrencyCode!) {
            fxRate(from: $f, to: $t, at: $a) { rate } }"""
        data = await world.query(query, f=base, t=quote, a=at.isoformat() if at else None)
        return data["fxRate"]["rate"] if data["fxRate"] else None

    assert await rate_of("EUR", "USD") == "1.10"
    assert await rate_of("EUR", "USD", week_ago) == "1.25"
    assert await rate_of("EUR", "USD", long_ago) is None
    assert await rate_of("USD", "EUR", week_ago) == "0.8"
    assert await rate_of("USD", "JPY") == "150"
    assert await rate_of("USD", "JPY", week_ago) is None
    assert await rate_of("USD", "USD", long_ago) == "1"
    assert await rate_of("GBP", "JPY") is None
    for base, quote in (("XYZ", "USD"), ("USD", ""), ("usd", "EUR")):
        body = await world.execute(f'{{ fxRate(from: "{base}", to: "{quote}") {{ rate }} }}')
        assert [error["extensions"]["code"] for error in body["errors"]] == ["INVALID_INPUT"]


FEED = """transactions(first: $n, orderBy: CREATED_AT_ASC) { nodes { id amount { value }
    fromCollective { slug } toCollective { slug } fromHost { slug } toHost { slug } order { id status } } }"""
NONPROFITS = "collectives(first: $n, filter: { type: NONPROFIT })"
LINES = f"""{NONPROFITS} {{ nodes {{ ...on Organization {{ ledgerAccounts {{
    postings(first: 2) {{ nodes {{ seq transaction {{ id }} }} }} statement {{ closingBalance {{ value }} }}
    }} }} }} }}"""
QUERIES_OF_LISTS = (
    FEED,
    "transactions(first: $n) { nodes { id } totalCount }",
    "transactions(first: $n) { nodes { postings { account { owner { slug } } } refundedBy { id } } }",
    "orders(first: $n) { nodes { id from { slug } to { slug } createdBy { slug } } }",
    "orders(first: $n) { nodes { items { description } actions { actor { slug } } transactions { id } } }",
    "collectives(first: $n) { nodes { slug host { slug } parent { slug } } }",
    f"{NONPROFITS} {{ nodes {{ ...on Organization {{ ledgerAccounts {{ id balance {{ value }} }} }} }} }}",
    LINES,
    "collectives(first: $n) { nodes { members(first: 3) { nodes { member { slug } } } } }",
    "collectives(first: $n, orderBy: NAME_ASC) { nodes { memberOf { nodes { collective { slug } } } } }",
    "collectives(first: $n) { nodes { balances { posted { value } } } }",
    'collective(slug: "club") { members(first: $n) { nodes { role member { slug } } } }',
    'collective(slug: "club") { events(first: $n) { nodes { slug } totalCount } }',
    'collective(slug: "club") { orders(first: $n) { nodes { to { slug } } } }',
    'collective(slug: "club") { transactions(first: $n) { nodes { toCollective { slug } } } }',
)


@pytest.mark.parametrize("query", QUERIES_OF_LISTS)
async def test_a_list_takes_the_same_statements_at_any_length(crowd: Crowd, query: str) -> None:
    text, settings = f"query($n: Int) {{ {query} }}", crowd.world.settings
    for by in (None, crowd.ada):
        await crowd.world.query(text, by=by, n=1)  # the viewer is known from now on
        used = []
        for is_planned in (True, False):
            crowd.world.settings = replace(settings, compiled_queries=is_planned)
            for first in (2, 20, 100):
                with record_statements(crowd.engine) as statements:
                    await crowd.world.query(text, by=by, n=first)
                used.append(len(without_control(statements)))
        crowd.world.settings = settings
        assert used[:3] == [1, 1, 1]
        assert used[3] == used[4] == used[5], "graphql-core has loaders"


async def test_the_last_audit_takes_one_statement(crowd: Crowd) -> None:
    with record_statements(crowd.engine) as statements:
        await crowd.world.query("{ ledgerAudit { isClean ageSeconds checks { name } } }")
    assert len(without_control(statements)) == 1


async def test_the_feed_is_one_statement_for_10_and_100_rows(world: World, engine: AsyncEngine) -> None:
    ada = await world.person("ada")
    hosts = [await world.host(slug, ada) for slug in ("first", "second")]
    clubs = [await world.community(f"club-{i}", hosts[i % 2], ada) for i in range(10)]
    for club in clubs:
        await world.fund(club, "100.00", by=ada)
    for club, other in zip(clubs, clubs[1:] + clubs[:1], strict=True):
        donation = f'from: {{ slug: "{club.slug}" }}, to: {{ slug: "{other.slug}" }}'
        fields = [
            f'm{i}: donate(input: {{ {donation}, amount: {{ value: {i + 1}, currency: "USD" }} }}) '
            "{ errors { code } }"
            for i in range(10)
        ]
        data = await world.query(f"mutation {{ {' '.join(fields)} }}", by=ada)
        assert all(answer["errors"] == [] for answer in data.values())
    for by in (None, ada):
        await world.query(f"query($n: Int) {{ {FEED} }}", by=by, n=1)  # the viewer is known from now on
        for first in (10, 100):
            with record_statements(engine) as statements:
                answer = await world.query(f"query($n: Int) {{ {FEED} }}", by=by, n=first)
            assert len(without_control(statements)) == 1
            nodes = answer["transactions"]["nodes"]
            assert len(nodes) == first
            assert all(node["order"] and node["toHost"] and node["toCollective"] for node in nodes)
