"""Who may do what, asked over GraphQL: every mutation by every kind of viewer.

The table is written from the design, not computed from the rules. Denials must change nothing.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from models import HostApplication, Invitation, Token, new_id, now
from models.enums import MemberRole, Scope, TokenKind
from schema.build import schema
from services import database as databases
from services.actors import token_hash
from tests.conftest import Database, MakeDatabase, Server
from tests.make import Person, World, money, of, public_id

VIEWERS = [
    "anonymous", "stranger", "follower", "backer", "member", "accountant", "admin", "co_admin", "payee_admin",
    "payee", "payer_host_admin", "payee_host_admin", "creator", "invitee", "platform_admin",
    "platform_accountant",
]  # fmt: skip
SIGNED_IN = " ".join(VIEWERS[1:])
ORDERED = {
    "donate", "addFunds", "submitExpense", "transferFunds", "approveOrder", "approveOrders", "rejectOrder",
    "payOrder", "cancelOrder", "refundOrder",
}  # fmt: skip
SCOPES = {
    "donate addFunds submitExpense transferFunds cancelOrder": "ORDERS",
    "approveOrder approveOrders rejectOrder payOrder refundOrder setFxRate setPlatformPolicy": "APPROVE",
    "signOut": "READ",
}
ONCE = {
    "archiveCollective", "applyToHost", "decideHostApplication", "inviteMember", "respondToInvitation",
    "removeMember",
}  # fmt: skip
"""What cannot be done twice: each viewer gets a database of their own."""
ADMINS = "admin co_admin"
PLATFORM = "platform_admin platform_accountant"
# Who sees a pending donation: its maker, admins and accountants of both sides and their hosts, the platform.
CONCERNED = f"creator accountant {ADMINS} payee_admin payer_host_admin payee_host_admin {PLATFORM}"


@dataclass(frozen=True)
class Case:
    """A mutation with valid input: who succeeds, who may see its object; all others are FORBIDDEN."""

    input: dict[str, Any] | None
    allowed: str
    seen_by: str = SIGNED_IN
    special: dict[str, str] = field(default_factory=dict)

    def expected(self, viewer: str) -> str:
        """Return the code of the answer, or OK."""
        if viewer == "anonymous" or viewer in self.special:
            return self.special.get(viewer, "UNAUTHENTICATED")
        if viewer in self.allowed.split():
            return "OK"
        return "FORBIDDEN" if viewer in self.seen_by.split() else "NOT_FOUND"


GIVER, GETTER, FREE = {"slug": "giver"}, {"slug": "getter"}, {"slug": "free"}
EVENT = {"slug": "private-event"}
TEN = money("10.00")
SOON = (now() + timedelta(hours=12)).isoformat()

# fmt: off
CASES: dict[str, Case] = {
    "createAccessToken": Case({"name": "x", "scopes": ["COLLECTIVES"], "expiresAt": SOON}, SIGNED_IN),
    "revokeAccessToken": Case({"id": "<token>"}, "member", "member"),
    "signOut": Case(None, SIGNED_IN),
    "createCollective": Case({"type": "NONPROFIT", "name": "New", "slug": "<slug>", "currency": "EUR",
        "isHost": True}, SIGNED_IN),
    "updateCollective": Case({"collective": GIVER, "description": "x"}, f"{ADMINS} platform_admin"),
    "updateCollective of a host": Case({"collective": {"slug": "payer-host"}, "description": "x"},
        "payer_host_admin platform_admin"),
    "updateCollective of a private event": Case({"collective": EVENT, "name": "x"},
        f"{ADMINS} platform_admin", f"{ADMINS} accountant {PLATFORM}"),
    "updateCollective of a user": Case({"collective": {"slug": "payee"}, "location": "x"},
        "payee platform_admin"),
    "updateCollective's host fee": Case({"collective": GIVER, "hostFeeBps": 100}, "payer_host_admin"),
    "archiveCollective": Case({"collective": FREE}, f"{ADMINS} platform_admin"),
    "createEvent": Case({"parent": GIVER, "name": "x", "startsAt": "2030-01-01T10:00Z",
        "endsAt": "2030-01-01T11:00Z"}, ADMINS),
    "applyToHost": Case({"collective": FREE, "host": {"slug": "payee-host"}}, ADMINS),
    "decideHostApplication": Case({"id": "<application>", "approve": True}, "payer_host_admin",
        f"{ADMINS} payer_host_admin {PLATFORM}"),
    "createPaymentMethod": Case({"host": {"slug": "payer-host"}, "name": "Card", "type": "MANUAL"},
        "payer_host_admin"),
    "createPayoutMethod": Case({"collective": GIVER, "name": "x", "type": "OTHER", "details": {"a": "b"}},
        ADMINS),
    "createPayoutMethod of a user": Case({"collective": {"slug": "payee"}, "name": "x", "type": "OTHER",
        "details": {}}, "payee"),
    "inviteMember": Case({"collective": GIVER, "role": "ADMIN", "user": {"slug": "stranger"}}, ADMINS),
    "inviteMember to a private event": Case({"collective": EVENT, "role": "MEMBER",
        "user": {"slug": "stranger"}}, ADMINS, f"{ADMINS} accountant {PLATFORM}"),
    "respondToInvitation": Case({"id": "<invitation>", "accept": True}, "invitee",
        f"{ADMINS} invitee {PLATFORM}"),
    "removeMember": Case({"id": "<member>"}, f"{ADMINS} member"),
    "removeMember of a follower": Case({"id": "<follower>"}, f"{ADMINS} follower",
        f"{ADMINS} follower accountant {PLATFORM}"),
    "followCollective": Case({"collective": GIVER}, SIGNED_IN),
    "unfollowCollective": Case({"collective": GIVER}, SIGNED_IN),
    "donate": Case({"from": GIVER, "to": GETTER, "amount": TEN}, ADMINS),
    "donate by bank transfer": Case({"from": GIVER, "to": GETTER, "amount": TEN, "paymentMethod": "MANUAL"},
        ADMINS),
    "donate from a user": Case({"from": {"slug": "payee"}, "to": GETTER, "amount": TEN,
        "paymentMethod": "MANUAL"}, "payee"),
    "addFunds": Case({"to": GETTER, "amount": TEN}, "payee_host_admin"),
    "addFunds to a user": Case({"to": {"slug": "payee"}, "amount": TEN}, "platform_admin"),
    "submitExpense": Case({"from": GIVER, "to": GETTER, "amount": TEN}, f"{ADMINS} payee_admin"),
    "submitExpense to a user": Case({"from": GIVER, "to": {"slug": "payee"}, "amount": TEN},
        f"{ADMINS} payee"),
    "transferFunds": Case({"from": GIVER, "to": GETTER, "amount": TEN}, ADMINS),
    "approveOrder of a pending donation": Case({"id": "<donation>"}, "payee_host_admin", CONCERNED),
    "approveOrder of a pending expense": Case({"id": "<expense>"}, ADMINS),
    "approveOrder of an expense that the admin made": Case({"id": "<own_expense>"}, "co_admin",
        special={"admin": "SELF_APPROVAL"}),
    "approveOrder of an expense that pays the admin": Case({"id": "<to_admin>"}, "",
        special={"admin": "SELF_APPROVAL", "co_admin": "SELF_APPROVAL"}),
    "approveOrders of a pending donation": Case({"ids": ["<donation>"]}, "payee_host_admin", CONCERNED),
    "approveOrders of a pending expense": Case({"ids": ["<expense>"]}, ADMINS),
    "rejectOrder of a pending donation": Case({"id": "<donation>", "reason": "x"}, "payee_host_admin",
        CONCERNED),
    "rejectOrder of a pending expense": Case({"id": "<expense>", "reason": "x"},
        f"{ADMINS} payer_host_admin"),
    "rejectOrder of an approved expense": Case({"id": "<approved>", "reason": "x"},
        f"{ADMINS} payer_host_admin"),
    "payOrder of an approved expense": Case({"id": "<approved>"}, "payer_host_admin"),
    "cancelOrder of a pending donation": Case({"id": "<donation>"}, f"{ADMINS} creator", CONCERNED),
    "cancelOrder of a pending expense": Case({"id": "<expense>"}, "payee_admin creator"),
    "cancelOrder of an approved expense": Case({"id": "<approved>"}, "payee_admin creator"),
    "refundOrder of a paid donation": Case({"id": "<paid_donation>"}, "payee_host_admin"),
    "refundOrder of added funds": Case({"id": "<funds>"}, "payer_host_admin"),
    "refundOrder of a paid expense": Case({"id": "<paid_expense>"}, "payer_host_admin"),
    "refundOrder of a transfer": Case({"id": "<transfer>"}, "payee_admin payee_host_admin"),
    "setFxRate": Case({"from": "USD", "to": "EUR", "rate": "0.9"}, "platform_admin"),
    "setPlatformPolicy": Case({"platformFeeBps": 100}, "platform_admin"),
}
# fmt: on
OPEN_TO_ALL = {"signUp", "verifyEmail", "signIn"}


@dataclass
class Prepared:
    """A database with every object in every state, which is cloned but never written."""

    database: Database
    clone: Callable[[], Database]
    platform: Any
    people: dict[str, Person]
    ids: dict[str, str]

    @asynccontextmanager
    async def world(self, database: Database) -> AsyncIterator[World]:
        """Open a database."""
        engine = databases.connect(database.settings)
        world = World(database.settings, databases.sessions(engine))
        world.platform = self.platform
        try:
            yield world
        finally:
            await engine.dispose()

    async def answer(self, world: World, case: str, by: Person | str | None, *, dry: bool) -> str:
        """Return the code of what the mutation answers, or OK; denials of access only at the top level."""
        mutation = mutation_of(case)
        given = self.filled(CASES[case].input)
        name = mutation[0].upper() + mutation[1:]
        each = "results { errors { code } }" if mutation == "approveOrders" else ""
        if given is None:
            body = await world.execute(f"mutation {{ {mutation} {{ errors {{ code }} }} }}", by=by)
        else:
            if dry:
                given = {**given, "dryRun": True}
            body = await world.execute(
                f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {each} errors {{ code }} }} }}",
                by=by, i=given,
            )  # fmt: skip
        if "errors" in body:
            assert len(body["errors"]) == 1, body
            return str(body["errors"][0]["extensions"]["code"])
        payload = body["data"][mutation]
        found = payload["errors"] + [e for r in payload.get("results", ()) for e in r["errors"]]
        if not found:
            return "OK"
        code = str(found[0]["code"])
        assert mutation == "approveOrders" or code not in {"FORBIDDEN", "UNAUTHENTICATED"}, body
        return code

    def filled(self, given: Any) -> Any:
        """Put ids in the place of <names>; a new slug in that of <slug>."""
        if isinstance(given, dict):
            return {key: self.filled(value) for key, value in given.items()}
        if isinstance(given, list):
            return [self.filled(value) for value in given]
        if given == "<slug>":
            return f"made-{new_id().hex[-12:]}"
        return self.ids[given[1:-1]] if isinstance(given, str) and given.startswith("<") else given


def mutation_of(case: str) -> str:
    return case.split(maxsplit=1)[0].removesuffix("'s")


def scope_of(case: str) -> Scope:
    return Scope(next((s for m, s in SCOPES.items() if mutation_of(case) in m.split()), "COLLECTIVES"))


async def populated(world: World) -> tuple[dict[str, Person], dict[str, str]]:
    """Make the people and the objects."""
    p = {name: await world.person(name.replace("_", "-")) for name in VIEWERS[1:-2]}
    p["platform_admin"], p["platform_accountant"] = world.admin, await world.person("auditor")
    await world.member(world.platform, p["platform_accountant"], MemberRole.ACCOUNTANT)
    payer_host = await world.host("payer-host", p["payer_host_admin"])
    payee_host = await world.host("payee-host", p["payee_host_admin"])
    giver = await world.community("giver", payer_host, p["admin"])
    await world.community("getter", payee_host, p["payee_admin"])
    ids: dict[str, str] = {}
    free, lonely = [await world.community(slug, None, p["admin"]) for slug in ("free", "lonely")]
    for row in (giver, free, lonely):
        for name in ("follower", "backer", "member", "accountant", "co_admin"):
            role = MemberRole.ADMIN if name == "co_admin" else MemberRole(name.upper())
            ids.setdefault(name, public_id("Member", (await world.member(row, p[name], role)).id))
    await world.fund(giver, "1000.00", by=p["payer_host_admin"])
    await requests(world, p, ids)
    await orders(world, p, ids)
    made = await world.do(
        "createEvent", "event { id }", by=p["co_admin"], parent=of(giver), name="Private", isPublic=False,
        startsAt="2030-01-01T10:00Z", endsAt="2030-01-01T11:00Z",
    )  # fmt: skip
    event = {"id": made["event"]["id"]}
    await world.do("updateCollective", by=p["co_admin"], collective=event, slug=EVENT["slug"])
    return p, ids


async def requests(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    async def row_id(slug: str) -> Any:
        return await world.scalar("SELECT id FROM collective WHERE slug = :slug", slug=slug)

    invitation = Invitation(
        collective_id=await row_id("giver"), user_id=p["invitee"].user.id, role=MemberRole.MEMBER,
        created_by_id=p["admin"].user.id,
    )  # fmt: skip
    application = HostApplication(
        collective_id=await row_id("lonely"), host_id=await row_id("payer-host"),
        created_by_id=p["admin"].user.id,
    )  # fmt: skip
    token = Token(
        user_id=p["member"].user.id, kind=TokenKind.ACCESS, token_hash=token_hash("members-own"),
        name="x", scopes=["READ"], expires_at=now() + timedelta(days=1),
    )  # fmt: skip
    ids["invitation"] = public_id("Invitation", invitation.id)
    ids["application"] = public_id("HostApplication", application.id)
    ids["token"] = public_id("AccessToken", token.id)
    for row in (invitation, application, token):
        await world.add(row)


async def orders(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Make orders in every state; `creator` was ADMIN of both sides when it made some of them."""

    async def made(mutation: str, by: str, **given: Any) -> str:
        done = await world.do(mutation, "order { id }", by=p[by], **given)
        assert done["errors"] == [], done
        return str(done["order"]["id"])

    sides: dict[str, Any] = {"from": GIVER, "to": GETTER, "amount": TEN}
    to_admin = {**sides, "to": {"slug": "admin"}}
    async with world.sessions() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO member (id, collective_id, member_id, role) SELECT gen_random_uuid(), id, :user,"
                " 'ADMIN' FROM collective WHERE slug IN ('giver', 'getter')"
            ),
            {"user": p["creator"].user.id},
        )
    ids["donation"] = await made("donate", "creator", **sides, paymentMethod="MANUAL")
    ids["expense"] = await made("submitExpense", "creator", **sides)
    ids["approved"] = await made("submitExpense", "creator", **sides)
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE member SET until = now() WHERE member_id = :user"), {"user": p["creator"].user.id}
        )
    await made("approveOrder", "admin", id=ids["approved"])
    ids["own_expense"] = await made("submitExpense", "admin", **sides)
    ids["to_admin"] = await made("submitExpense", "co_admin", **to_admin)
    ids["paid_expense"] = await made("submitExpense", "payee_admin", **sides)
    await made("approveOrder", "admin", id=ids["paid_expense"])
    await made("payOrder", "payer_host_admin", id=ids["paid_expense"])
    ids["paid_donation"] = await made("donate", "admin", **sides)
    ids["transfer"] = await made("transferFunds", "admin", **sides)
    ids["funds"] = await made("addFunds", "payer_host_admin", to=GIVER, amount=TEN)


@pytest.fixture(scope="module")
async def prepared(server: Server, make_database: MakeDatabase) -> AsyncIterator[Prepared]:
    database = make_database()
    engine = databases.connect(database.settings)
    world = await World.create(database.settings, databases.sessions(engine))
    people, ids = await populated(world)
    await engine.dispose()
    with clones(server, database) as clone:
        yield Prepared(database, clone, world.platform, people, ids)


@contextmanager
def clones(server: Server, database: Database) -> Iterator[Callable[[], Database]]:
    """Yield a maker of copies of a database, which are dropped at the end."""
    made: list[str] = []

    def clone() -> Database:
        name = f"clone_{new_id().hex[-12:]}"
        databases.create_database(server.url, name, template=database.name)
        made.append(name)
        url = server.database_url
        return Database(name, url(name), url(name, role=databases.APP_ROLE))

    yield clone
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in made:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


@pytest.fixture(scope="module")
async def still(prepared: Prepared) -> AsyncIterator[World]:
    """Return the world in which nothing ever happens."""
    async with prepared.world(prepared.clone()) as world:
        yield world


def test_the_table_has_every_mutation() -> None:
    root = schema()._schema.mutation_type  # noqa: SLF001 - graphql-core's own schema has no other way in
    assert root is not None
    assert set(root.fields) - OPEN_TO_ALL == {mutation_of(case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
async def test_every_viewer_gets_the_right_answer_and_a_denial_changes_nothing(
    prepared: Prepared, still: World, case: str
) -> None:
    dry = mutation_of(case) in ORDERED
    asked = [v for v in VIEWERS if dry or CASES[case].expected(v) != "OK"]
    before = await still.fingerprint()
    answers = {v: await prepared.answer(still, case, prepared.people.get(v), dry=dry) for v in asked}
    assert answers == {v: CASES[case].expected(v) for v in asked}
    assert await still.fingerprint() == before


@pytest.mark.parametrize("case", [c for c in CASES if mutation_of(c) not in ORDERED])
async def test_every_viewer_who_may_does_it_and_an_access_token_with_its_scope(
    prepared: Prepared, case: str
) -> None:
    viewers = CASES[case].allowed.split()
    pairs = [(viewers[0], True), *((viewer, False) for viewer in viewers)]
    groups = [[pair] for pair in pairs] if mutation_of(case) in ONCE else [pairs]
    for group in groups:
        async with prepared.world(prepared.clone()) as world:
            for viewer, by_token in group:
                person = prepared.people[viewer]
                by = await world.access_token(person, scope_of(case)) if by_token else person
                assert await prepared.answer(world, case, by, dry=False) == "OK", viewer


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c].allowed])
async def test_an_access_token_without_the_scope_does_nothing(
    prepared: Prepared, still: World, case: str
) -> None:
    viewer, dry = CASES[case].allowed.split()[0], mutation_of(case) in ORDERED
    person, scope = prepared.people[viewer], scope_of(case)
    tokens = [await still.access_token(person, *names) for names in (set(Scope) - {scope}, set(), {scope})]
    before = await still.fingerprint()
    for token in tokens[:2]:
        assert await prepared.answer(still, case, token, dry=dry) == "FORBIDDEN"
    if dry:
        assert await prepared.answer(still, case, tokens[2], dry=True) == "OK"
    assert await still.fingerprint() == before
