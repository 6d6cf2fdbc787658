"""Visibility: one predicate for each type, so that every path to an object agrees."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from models import now
from models.enums import MemberRole
from services.database import engine as database_engine
from tests.conftest import MakeDatabase
from tests.factories import Person, World, money, public_id, ref

VIEWERS = [
    "anonymous",
    "stranger",
    "donor",
    "friend",
    "guest",
    "fan",
    "applicant",
    "accountant",
    "admin",
    "co_admin",
    "host_admin",
    "auditor",
]
CLUB, HAVEN, EVENT = {"slug": "club"}, {"slug": "haven"}, {"slug": "secret-ball"}
ADMINS = "admin co_admin"
CLUBS = f"{ADMINS} accountant"


@dataclass(frozen=True)
class Secret:
    """A private text, the viewers who may read it, and the queries that could reveal it."""

    marker: str
    seen_by: str
    paths: tuple[str, ...]


def by_id(name: str, more: str = "") -> tuple[str, ...]:
    """Return ways by the public id alone."""
    return (f'{{ node(id: "<{name}>") {{ id {more} }} nodes(ids: ["<{name}>"]) {{ id {more} }} }}',)


def collective_paths(fields: str) -> tuple[str, ...]:
    """Return ways to the donor: by name, in lists, from orders and transactions, from members."""
    return (
        f'{{ collective(slug: "donor") {{ {fields} }} node(id: "<donor>") '
        f"{{ ... on Collective {{ {fields} }} }} }}",
        f'{{ collectives(filter: {{ search: "donor" }}) {{ nodes {{ {fields} }} edges '
        f"{{ node {{ {fields} }} }} }} }}",
        f'{{ order(id: "<paid>") {{ from {{ {fields} }} createdBy {{ {fields} }} actions '
        f"{{ actor {{ {fields} }} }} transactions {{ fromCollective {{ {fields} }} }} }} }}",
        f'{{ node(id: "<backer>") {{ ... on Member {{ member {{ {fields} }} }} }} }}',
    )


def order_paths(name: str, fields: str = "id") -> tuple[str, ...]:
    """Return ways to an order of the donor's or the friend's."""
    return (
        f'{{ order(id: "<{name}>") {{ {fields} }} nodes(ids: ["<{name}>"]) '
        f"{{ ... on Order {{ {fields} }} }} }}",
        f"{{ orders(first: 100) {{ nodes {{ {fields} }} edges {{ node {{ {fields} }} }} }} }}",
        f"{{ orders(filter: {{ status: [PENDING, APPROVED, PAID, REFUNDED] }}, first: 100, orderBy: "
        f"CREATED_AT_ASC) {{ nodes {{ {fields} }} }} }}",
        f'{{ collective(slug: "donor") {{ orders(first: 100) {{ nodes {{ {fields} }} }} }} '
        f'friend: collective(slug: "friend") {{ orders(first: 100) {{ nodes {{ {fields} }} }} }} }}',
    )


def transaction_paths(fields: str) -> tuple[str, ...]:
    """Return ways to the transaction of the transfer from the donor to the friend."""
    return (
        f'{{ transaction(id: "<given>") {{ {fields} }} nodes(ids: ["<given>"]) '
        f"{{ ... on Transaction {{ {fields} }} }} }}",
        f"{{ transactions(first: 100) {{ nodes {{ {fields} }} edges {{ node {{ {fields} }} }} }} }}",
        f'{{ transactions(filter: {{ order: "<transfer>" }}) {{ nodes {{ {fields} }} }} '
        f'of: transactions(filter: {{ from: {{ slug: "donor" }} }}) {{ nodes {{ {fields} }} }} }}',
        f"{{ transactions(filter: {{ kind: TRANSFER }}) {{ nodes {{ {fields} }} }} "
        f"back: transactions(filter: {{ kind: REFUND }}) {{ nodes {{ refundOf {{ {fields} }} }} }} }}",
        f'{{ collective(slug: "friend") {{ transactions {{ nodes {{ {fields} }} }} }} '
        f'order(id: "<transfer>") {{ transactions {{ {fields} }} }} }}',
    )


SOON = (now() + timedelta(days=7)).isoformat()
CONCERNED = f"donor {CLUBS} host_admin auditor"
BALANCE = "postings { balanceAfter { minorUnits } account { balance { minorUnits } } }"
SECRETS: dict[str, Secret] = {
    "private event": Secret(
        "<event>",
        f"guest {CLUBS} auditor",
        (
            '{ collective(slug: "secret-ball") { id } }',
            '{ collective(slug: "<old_slug>") { id } }',
            '{ collective(id: "<event>") { id } }',
            *by_id("event"),
            "{ collectives(first: 100) { nodes { id } edges { node { id } } } }",
            "{ collectives(filter: { type: EVENT }, orderBy: NAME_ASC) { nodes { id } } }",
            '{ collectives(filter: { search: "secret", isArchived: null }) { nodes { id } } }',
            '{ collective(slug: "club") { events { nodes { id } edges { node { id } } } } }',
            '{ collective(slug: "guest") { memberOf { nodes { collective { id } } } } }',
            '{ node(id: "<guest_member>") { ... on Member { collective { id } } } }',
        ),
    ),
    "member of a private event": Secret(
        "<guest_member>",
        f"guest {CLUBS} auditor",
        (
            *by_id("guest_member"),
            '{ collective(slug: "guest") { memberOf { nodes { id } edges { node { id } } } } }',
        ),
    ),
    "pending donation": Secret(
        "<donation>",
        CONCERNED,
        (
            *order_paths("donation"),
            '{ collective(slug: "club") { orders(first: 100) { nodes { id } edges { node { id } } } } }',
            '{ orders(filter: { from: { slug: "donor" }, to: { slug: "club" } }) { nodes { id } } }',
        ),
    ),
    "funds added to a person": Secret("<funds>", "donor auditor", order_paths("funds")),
    "user-to-user order": Secret(
        "<transfer>",
        "donor friend auditor",
        (
            *order_paths("transfer"),
            "{ transactions(first: 100) { nodes { order { id } } } }",
            '{ transaction(id: "<given>") { order { id } } }',
        ),
    ),
    "user-to-user transaction": Secret("<given>", "donor friend auditor", transaction_paths("id")),
    "its refund": Secret(
        "<taken>",
        "donor friend auditor",
        (
            *by_id("taken"),
            "{ transactions(filter: { kind: REFUND }) { nodes { id } } }",
            *transaction_paths("refundedBy { id }"),
        ),
    ),
    "follower": Secret(
        "<fan_member>",
        f"fan {CLUBS} auditor",
        (
            *by_id("fan_member"),
            '{ collective(slug: "club") { members(role: FOLLOWER) { nodes { id } } } }',
            '{ collective(slug: "club") { members(first: 100) { edges { node { id } } } } }',
            '{ collective(slug: "fan") { memberOf { nodes { id } } } }',
            "{ collectives(first: 100) { nodes { members { nodes { id } } memberOf { nodes { id } } } } }",
        ),
    ),
    "follower of a private event": Secret(
        "<event_fan>",
        f"guest {CLUBS} auditor",
        (
            *by_id("event_fan"),
            '{ collective(slug: "guest") { memberOf { nodes { id } } } }',
            '{ collective(slug: "secret-ball") { members { nodes { id } } } }',
        ),
    ),
    "invitation": Secret(
        "SECRET-invitation", f"friend {ADMINS} auditor", by_id("invitation", "... on Invitation { message }")
    ),
    "invitation to a private event": Secret(
        "SECRET-ball", f"friend {ADMINS} auditor", by_id("event_invitation", "... on Invitation { message }")
    ),
    "invitations of one's own": Secret("SECRET-invitation", "friend", ("{ myInvitations { message } }",)),
    "host application": Secret(
        "SECRET-application",
        "applicant host_admin auditor",
        (
            *by_id("application", "... on HostApplication { message }"),
            '{ collective(slug: "haven") { ... on Organization { hostApplications { message } } } }',
        ),
    ),
    "balance of a person": Secret(
        '"67600"',
        "donor auditor",
        (
            *collective_paths("balances { posted { minorUnits } available { minorUnits } }"),
            '{ collective(slug: "donor") { balance(currency: "USD") { posted { minorUnits } } } }',
            *collective_paths('balances(asOf: "2100-01-01T00:00Z") { posted { minorUnits } }'),
        ),
    ),
    "postings of a person": Secret(
        '"66669"',
        "donor auditor",
        (
            f'{{ order(id: "<paid>") {{ transactions {{ {BALANCE} }} }} }}',
            f"{{ transactions(first: 100) {{ nodes {{ {BALANCE} }} }} }}",
            f'{{ collective(slug: "donor") {{ transactions {{ nodes {{ {BALANCE} }} }} }} }}',
        ),
    ),
    "cash of a host, which is open": Secret(
        '"-122456"',
        " ".join(VIEWERS),
        (
            '{ collective(slug: "haven") { ... on Organization { '
            "ledgerAccounts { balance { minorUnits } } } } }",
            f'{{ order(id: "<raised>") {{ transactions {{ {BALANCE} }} }} }}',
            f"{{ transactions(first: 100) {{ nodes {{ {BALANCE} }} }} }}",
        ),
    ),
    "payout method": Secret(
        "SECRET-iban",
        "friend host_admin auditor",
        (
            *order_paths("expense", "payoutMethod { details }"),
            *by_id("payout", "... on PayoutMethod { details }"),
            '{ collective(slug: "friend") { payoutMethods { details } } }',
            '{ order(id: "<expense>") { to { payoutMethods { details } } } }',
            "{ collectives(first: 100) { nodes { payoutMethods { details } } } }",
        ),
    ),
    "email": Secret("donor@commonweal.test", "donor auditor", collective_paths("... on User { email }")),
    "legal name of a person": Secret("SECRET-name", "donor auditor", collective_paths("legalName")),
    "location of a person": Secret("SECRET-place", "donor auditor", collective_paths("location")),
    "legal name of a collective": Secret(
        "SECRET-law",
        f"{CLUBS} auditor",
        (
            '{ collective(slug: "club") { legalName } }',
            '{ order(id: "<paid>") { to { legalName } } }',
            "{ collectives(first: 100) { nodes { legalName } } }",
            '{ collective(slug: "admin") { memberOf { nodes { collective { legalName } } } } }',
        ),
    ),
    "legal name of a private event's": Secret(
        "SECRET-event",
        f"{CLUBS} auditor",
        (
            '{ collective(slug: "secret-ball") { legalName } }',
            '{ collective(slug: "guest") { memberOf { nodes { collective { legalName } } } } }',
        ),
    ),
    "private message": Secret(
        "SECRET-message",
        CONCERNED,
        (
            *order_paths("paid", "privateMessage"),
            "{ transactions(first: 100) { nodes { order { privateMessage } } } }",
            '{ collective(slug: "club") { orders(first: 100) { nodes { privateMessage } } } }',
        ),
    ),
    "receipts": Secret(
        "SECRET-receipt", f"friend {CLUBS} host_admin auditor", order_paths("expense", "receipts")
    ),
    "reason of a changed amount": Secret(
        "SECRET-why", f"friend {CLUBS} host_admin auditor", order_paths("expense", "actions { reason }")
    ),
    "reason of a refund": Secret("SECRET-refund", CONCERNED, order_paths("paid", "actions { reason }")),
    "reason of a refund, by its transaction": Secret(
        "SECRET-refund",
        "",
        (
            *order_paths("paid", "transactions { description }"),
            "{ transactions(filter: { kind: REFUND }) { nodes { description } } }",
        ),
    ),
    "access token": Secret(
        "SECRET-token",
        "donor",
        (
            "{ myAccessTokens { name } }",
            *by_id("token", "... on AccessToken { name }"),
        ),
    ),
}
COUNTS = [
    # query, the number for those who see the hidden one, who they are, the number for all others
    ('{ collective(slug: "club") { events { totalCount } } }', 2, f"guest {CLUBS} auditor", 1),
    ("{ collectives(filter: { type: EVENT }) { totalCount } }", 2, f"guest {CLUBS} auditor", 1),
    ('{ collective(slug: "fan") { memberOf { totalCount } } }', 1, f"fan {CLUBS} auditor", 0),
    ('{ collective(slug: "club") { members(role: FOLLOWER) { totalCount } } }', 1, f"{CLUBS} auditor fan", 0),
    (
        '{ collective(slug: "guest") { memberOf(role: MEMBER) { totalCount } } }',
        1,
        f"guest {CLUBS} auditor",
        0,
    ),
    ("{ orders(filter: { type: DONATION, status: PENDING }) { totalCount } }", 1, CONCERNED, 0),
    ("{ transactions(filter: { kind: TRANSFER }) { totalCount } }", 1, "donor friend auditor", 0),
    (
        '{ collective(slug: "friend") { orders(filter: { type: TRANSFER }) { totalCount } } }',
        1,
        "donor friend auditor",
        0,
    ),
    ('{ collective(slug: "friend") { transactions { totalCount } } }', 2, "donor friend auditor", 0),
]


@dataclass
class Hidden:
    """A read-only world with private values of every type."""

    world: World
    people: dict[str, Person] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    async def answer(self, query: str, viewer: str) -> tuple[str, set[str]]:
        """Return the data of the answer as a text, and the codes of its errors."""
        body = await self.world.execute(self.filled(query), by=self.people.get(viewer))
        codes = {error["extensions"]["code"] for error in body.get("errors", [])}
        return orjson.dumps(body.get("data")).decode(), codes

    def filled(self, text: str) -> str:
        """Put ids in the place of <names>."""
        for name, value in self.ids.items():
            text = text.replace(f"<{name}>", value)
        return text

    async def did(self, mutation: str, fields: str, by: str, **arguments: Any) -> dict[str, Any]:
        """Do a mutation that succeeds."""
        payload = await self.world.mutate(mutation, fields, by=self.people[by], **arguments)
        assert payload["errors"] == [], payload
        return payload

    async def order(self, mutation: str, by: str, **arguments: Any) -> str:
        """Create or change an order; return its id."""
        return str((await self.did(mutation, "order { id }", by, **arguments))["order"]["id"])


@pytest.fixture(scope="module")
async def hidden(make_database: MakeDatabase) -> AsyncIterator[Hidden]:
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    # To read everything at once costs more than an operation may.
    settings = replace(database.settings, max_cost=1_000_000, rate_capacity=1_000_000)
    world = await World.create(settings, database_engine.session_factory(engine))
    result = Hidden(world)
    await people(result)
    await requests(result)
    await orders(result)
    yield result
    await engine.dispose()


async def people(hidden: Hidden) -> None:
    world, p, ids, did = hidden.world, hidden.people, hidden.ids, hidden.did
    p |= {name: await world.person(name.replace("_", "-")) for name in VIEWERS[1:]}
    await world.member(world.platform, p["auditor"], MemberRole.ACCOUNTANT)
    haven = await world.host("haven", p["host_admin"])
    club = await world.community("club", haven, p["admin"])
    await world.community("novice", None, p["applicant"])
    await world.member(club, p["co_admin"], MemberRole.ADMIN)
    await world.member(club, p["accountant"], MemberRole.ACCOUNTANT)
    ids["fan_member"] = public_id("Member", (await world.member(club, p["fan"], MemberRole.FOLLOWER)).id)
    ids["donor"] = public_id("Collective", p["donor"].user.id)
    event: dict[str, Any] = {"parent": CLUB, "startsAt": "2030-01-01T10:00Z", "endsAt": "2030-01-01T11:00Z"}
    await did("createEvent", "", "admin", name="Open", **event)
    created = await did("createEvent", "event { id slug }", "admin", name="Secret", isPublic=False, **event)
    ids["event"], ids["old_slug"] = created["event"]["id"], created["event"]["slug"]
    this: dict[str, Any] = {"collective": {"id": ids["event"]}}
    await did("updateCollective", "", "admin", **this, slug=EVENT["slug"], legalName="SECRET-event")
    role: dict[str, Any] = {"role": "MEMBER", "user": ref(p["guest"])}
    created = await did("inviteMember", "invitation { id }", "admin", **this, **role)
    answer: dict[str, Any] = {"id": created["invitation"]["id"], "accept": True}
    yes = await did("respondToInvitation", "member { id }", "guest", **answer)
    ids["guest_member"] = yes["member"]["id"]
    yes = await did("followCollective", "member { id }", "guest", **this)
    ids["event_fan"] = yes["member"]["id"]


async def requests(hidden: Hidden) -> None:
    did, ids = hidden.did, hidden.ids
    friend = {"role": "MEMBER", "user": ref(hidden.people["friend"])}
    results = [("invitation", CLUB, "SECRET-invitation"), ("event_invitation", EVENT, "SECRET-ball")]
    for name, collective, message in results:
        text: dict[str, Any] = {"collective": collective, "message": message}
        created = await did("inviteMember", "invitation { id }", "admin", **text, **friend)
        ids[name] = created["invitation"]["id"]
    created = await did(
        "applyToHost",
        "application { id }",
        "applicant",
        collective={"slug": "novice"},
        host=HAVEN,
        message="SECRET-application",
    )
    ids["application"] = created["application"]["id"]
    created = await did(
        "createPayoutMethod",
        "payoutMethod { id }",
        "friend",
        collective={"slug": "friend"},
        name="Bank",
        type="BANK_ACCOUNT",
        details={"account": "SECRET-iban"},
    )
    ids["payout"] = created["payoutMethod"]["id"]
    created = await did(
        "createAccessToken",
        "accessToken { id }",
        "donor",
        name="SECRET-token",
        scopes=["READ"],
        expiresAt=SOON,
    )
    ids["token"] = created["accessToken"]["id"]
    await did(
        "updateCollective",
        "",
        "donor",
        collective={"slug": "donor"},
        legalName="SECRET-name",
        location="SECRET-place",
    )
    await did("updateCollective", "", "admin", collective=CLUB, legalName="SECRET-law")


async def orders(hidden: Hidden) -> None:
    order, ids, platform = hidden.order, hidden.ids, hidden.world.admin
    hidden.people["platform_admin"] = platform
    ids["funds"] = await order("addFunds", "platform_admin", to={"slug": "donor"}, amount=money("777.00"))
    raised = await order("addFunds", "host_admin", to=CLUB, amount=money("1224.56"), hostFeeBps=0)
    ids["raised"] = raised
    donor: dict[str, Any] = {"from": {"slug": "donor"}, "to": CLUB}
    ids["donation"] = await order("donate", "donor", **donor, amount=money("1.00"), paymentMethod="MANUAL")
    parties: dict[str, Any] = {"from": {"slug": "donor"}, "to": {"slug": "friend"}}
    ids["transfer"] = await order("transferFunds", "donor", **parties, amount=money("100.31"))
    bill: dict[str, Any] = {"from": CLUB, "to": {"slug": "friend"}}
    bill |= {"receipts": ["SECRET-receipt"], "payoutMethod": ids["payout"]}
    ids["expense"] = await order("submitExpense", "friend", **bill, amount=money("5.00"))
    await order("approveOrder", "admin", id=ids["expense"], amount=money("4.00"), reason="SECRET-why")
    ids["paid"] = await order(
        "donate", "donor", **donor, amount=money("10.00"), privateMessage="SECRET-message"
    )
    await order("refundOrder", "friend", id=ids["transfer"], amount=money("0.31"))
    await order("refundOrder", "host_admin", id=ids["paid"], amount=money("9.00"), reason="SECRET-refund")
    query = """{ order(id: "<transfer>") { transactions { id } }
        collective(slug: "club") { members(role: BACKER) { nodes { id } } } }"""
    data = await hidden.world.query(hidden.filled(query), by=hidden.people["donor"])
    ids["backer"] = data["collective"]["members"]["nodes"][0]["id"]
    ids["given"], ids["taken"] = (t["id"] for t in data["order"]["transactions"])


@pytest.mark.parametrize(
    ("name", "path"),
    [pytest.param(n, path, id=f"{n}: {path}") for n, secret in SECRETS.items() for path in secret.paths],
)
async def test_a_private_value_is_visible_to_the_same_viewers_on_every_path(
    hidden: Hidden, name: str, path: str
) -> None:
    secret = SECRETS[name]
    marker = hidden.filled(secret.marker)
    answers = {viewer: await hidden.answer(path, viewer) for viewer in VIEWERS}
    assert {v for v, (data, _) in answers.items() if marker in data} == set(secret.seen_by.split())
    assert {code for _, codes in answers.values() for code in codes} <= {"NOT_FOUND"}


@pytest.mark.parametrize(("query", "more", "seen_by", "less"), COUNTS, ids=[c[0] for c in COUNTS])
async def test_total_counts_include_only_visible_rows(
    hidden: Hidden, query: str, more: int, seen_by: str, less: int
) -> None:
    for viewer in VIEWERS:
        data, codes = await hidden.answer(query, viewer)
        expected = more if viewer in seen_by.split() else less
        assert (codes, f'"totalCount":{expected}}}' in data) == (set(), True), (viewer, data)


@pytest.mark.parametrize(
    "query",
    [
        "{ orders(filter: { %s: { slug: %s } }) { totalCount } }",
        "{ transactions(filter: { %s: { slug: %s } }) { totalCount } }",
    ],
)
@pytest.mark.parametrize("side", ["from", "to"])
async def test_filtering_by_a_hidden_collective_equals_filtering_by_an_unknown_one(
    hidden: Hidden, query: str, side: str
) -> None:
    for viewer in ("anonymous", "stranger", "donor", "host_admin"):
        person = hidden.people.get(viewer)
        slugs = ('"secret-ball"', '"no-such-slug"')
        secret, unknown = [await hidden.world.execute(query % (side, slug), by=person) for slug in slugs]
        assert secret == unknown
        assert secret["errors"][0]["extensions"]["code"] == "NOT_FOUND"


EVERYTHING = """{
  collectives(first: 100, filter: { isArchived: null }) { nodes {
    id slug host { id } parent { id }
    members(first: 100) { nodes { id collective { id } member { id } } }
    memberOf(first: 100) { nodes { id collective { id } member { id } } }
    events(first: 100) { nodes { id members { nodes { member { id } } } } }
    orders(first: 100) { nodes { id } } transactions(first: 100) { nodes { id } }
    balances { posted { value } } payoutMethods { id } legalName location
    ... on User { email }
    ... on Organization { ledgerAccounts { owner { id } } exchangePosition { value }
      hostApplications { collective { id } host { id } } paymentMethods { host { id } } }
  } }
  orders(first: 100) { nodes {
    from { id } to { id } createdBy { id } event { id } payoutMethod { id } receipts privateMessage
    items { description amount { value } } actions { actor { id } amount { value } reason }
    transactions { id refundOf { id } refundedBy { id } }
  } }
  transactions(first: 100) { nodes {
    order { id } fromCollective { id } toCollective { id } fromHost { id } toHost { id }
    refundOf { id } refundedBy { id } postings { account { book { id } owner { id } } }
  } }
  me { id } myInvitations { collective { id } user { id } } myAccessTokens { id }
}"""


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_a_visible_object_can_be_read_completely(hidden: Hidden, viewer: str) -> None:
    _, codes = await hidden.answer(EVERYTHING, viewer)
    assert codes == set()


async def test_an_unseen_balance_is_null_and_takes_nothing_else_with_it(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    await world.community("club", await world.host("host", holder), ada)
    query = """{ collectives(first: 50) { nodes {
        slug type balance(currency: "USD") { available { value } } } } }"""
    rows = (await world.query(query))["collectives"]["nodes"]
    assert {row["slug"] for row in rows} >= {"ada", "club", "host"}
    assert all((row["balance"] is None) == (row["type"] == "USER") for row in rows)
    own = (await world.query(query, by=ada))["collectives"]["nodes"]
    assert next(row["balance"] for row in own if row["slug"] == "ada") == {"available": {"value": "0.00"}}
