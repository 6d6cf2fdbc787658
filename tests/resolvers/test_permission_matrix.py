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
from models.enums import CollectiveType, MemberRole, Scope, TokenKind
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
    "redeemOffer", "logHours", "cashOut",
    "donate", "addFunds", "submitExpense", "transferFunds", "approveOrder", "approveOrders", "rejectOrder",
    "payOrder", "cancelOrder", "refundOrder", "mergeUsers", "checkIn", "checkOut",
}  # fmt: skip
SCOPES = {
    "donate addFunds submitExpense transferFunds cancelOrder redeemOffer logHours cashOut": "ORDERS",
    "approveOrder approveOrders rejectOrder payOrder refundOrder setFxRate setPlatformPolicy": "APPROVE",
    "checkIn checkOut": "APPROVE",
    "decideIssuer setIssuanceCap mergeUsers": "APPROVE",
    "signOut": "READ",
}
ONCE = {
    "deactivateOffer",
    "archiveCollective", "applyToHost", "decideHostApplication", "inviteMember", "respondToInvitation",
    "removeMember", "cancelEvent", "cancelRegistration",
}  # fmt: skip
"""What cannot be done twice: each viewer gets a database of their own."""
ADMINS = "admin co_admin"
PLATFORM = "platform_admin platform_accountant"
# Who sees a pending donation: its maker, admins and accountants of both sides and their hosts, the platform.
SHOPPERS = f"payee accountant {ADMINS} {PLATFORM}"
"""Who sees what the payee buys at the shop."""
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
EVENT, WORKDAY = {"slug": "private-event"}, {"slug": "workday"}
SEE_EVENT = f"{ADMINS} accountant {PLATFORM}"
SHOP = {"slug": "shop"}
TEN = money("10.00")
SOON = (now() + timedelta(hours=12)).isoformat()

WORKERS = f"payee payer_host_admin {PLATFORM}"
"""Who sees what the payee worked for the payer's host."""


def worked(days: int) -> dict[str, Any]:
    """Return hours of some days ago for the payer's host, as logHours takes them."""
    begun = now().replace(hour=8, minute=0) - timedelta(days=days)
    ended = begun + timedelta(hours=1)
    return {"nonprofit": {"slug": "payer-host"}, "startsAt": begun.isoformat(), "endsAt": ended.isoformat()}


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
    "updateEvent": Case({"event": EVENT, "location": "x"}, ADMINS, SEE_EVENT),
    "updateEvent of a nonprofit": Case({"event": WORKDAY, "location": "x"}, "payer_host_admin"),
    "cancelEvent": Case({"event": EVENT, "reason": "x"}, ADMINS, SEE_EVENT),
    "registerForEvent": Case({"event": WORKDAY}, SIGNED_IN),
    "registerForEvent of a private event": Case({"event": EVENT}, SEE_EVENT, SEE_EVENT),
    "cancelRegistration": Case({"event": WORKDAY}, "backer",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous", "backer"}, "INVALID_STATE")),
    "inviteToEvent": Case({"event": EVENT, "users": [{"slug": "stranger"}]}, ADMINS, SEE_EVENT),
    "sendEventMessage": Case({"event": WORKDAY, "message": "x"}, "payer_host_admin backer member"),
    "sendEventMessage of a private event": Case({"event": EVENT, "message": "x"}, ADMINS, SEE_EVENT),
    "checkIn": Case({"event": WORKDAY, "user": {"slug": "stranger"}}, "payer_host_admin"),
    "checkIn of an address": Case({"event": WORKDAY, "email": "new@example.org"}, "payer_host_admin"),
    "checkIn of the admin": Case({"event": WORKDAY, "user": {"slug": "payer-host-admin"}}, "",
        special={"payer_host_admin": "SELF_APPROVAL"}),
    "checkIn of a private event": Case({"event": EVENT, "user": {"slug": "stranger"}}, "", SEE_EVENT,
        special=dict.fromkeys(ADMINS.split(), "INVALID_STATE")),
    "checkOut": Case({"event": WORKDAY, "user": {"slug": "member"}}, "payer_host_admin"),
    "checkOut of a private event": Case({"event": EVENT, "user": {"slug": "stranger"}}, "", SEE_EVENT,
        special=dict.fromkeys(ADMINS.split(), "INVALID_STATE")),
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
    "createOffer": Case({"business": SHOP, "item": "<slug>", "currentsSharePercent": 5}, ADMINS),
    "updateOffer": Case({"id": "<offer>", "description": "x"}, ADMINS),
    "deactivateOffer": Case({"id": "<offer>"}, f"{ADMINS} platform_admin"),
    "featureOffer": Case({"id": "<offer>", "isFeatured": True}, "platform_admin"),
    "redeemOffer": Case({"offer": "<offer>", "price": TEN, "receipt": "x"}, SIGNED_IN),
    "approveOrder of a pending redemption": Case({"id": "<redemption>"}, ADMINS, SHOPPERS),
    "approveOrder of the admin's own redemption": Case({"id": "<own_redemption>"}, "co_admin",
        f"accountant {ADMINS} {PLATFORM}", special={"admin": "SELF_APPROVAL"}),
    "rejectOrder of a pending redemption": Case({"id": "<redemption>", "reason": "x"}, ADMINS, SHOPPERS),
    "payOrder of an approved redemption": Case({"id": "<approved_redemption>"}, "platform_admin", SHOPPERS),
    "cancelOrder of a pending redemption": Case({"id": "<redemption>"}, "payee", SHOPPERS),
    "logHours": Case(worked(5), SIGNED_IN),
    "logHours for a user": Case({**worked(6), "volunteer": {"slug": "payee"}}, "payee payer_host_admin"),
    "approveOrder of pending hours": Case({"id": "<hours>"}, "payer_host_admin", WORKERS,
        special={"payee": "SELF_APPROVAL"}),
    "approveOrders of pending hours": Case({"ids": ["<hours>"]}, "payer_host_admin", WORKERS,
        special={"payee": "SELF_APPROVAL"}),
    "approveOrder of the admin's own hours": Case({"id": "<own_hours>"}, "", f"payer_host_admin {PLATFORM}",
        special={"payer_host_admin": "SELF_APPROVAL"}),
    "rejectOrder of pending hours": Case({"id": "<hours>", "reason": "x"}, "payer_host_admin", WORKERS),
    "cancelOrder of pending hours": Case({"id": "<hours>"}, "payee", WORKERS),
    "cashOut": Case({"amount": money("1.00")}, "payee",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous", "payee"}, "INSUFFICIENT_FUNDS")),
    "approveOrder of a pending cash-out": Case({"id": "<cash_out>"}, "platform_admin", f"payee {PLATFORM}",
        special={"payee": "SELF_APPROVAL"}),
    "rejectOrder of a pending cash-out": Case({"id": "<cash_out>", "reason": "x"}, "platform_admin",
        f"payee {PLATFORM}"),
    "cancelOrder of a pending cash-out": Case({"id": "<cash_out>"}, "payee", f"payee {PLATFORM}"),
    "payOrder of an approved cash-out": Case({"id": "<approved_cash_out>"}, "platform_admin",
        f"payee {PLATFORM}", special={"payee": "SELF_APPROVAL"}),
    "setFxRate": Case({"from": "USD", "to": "EUR", "rate": "0.9"}, "platform_admin"),
    "setPlatformPolicy": Case({"platformFeeBps": 100}, "platform_admin"),
    "decideIssuer": Case({"nonprofit": {"slug": "payer-host"}, "approve": True}, "platform_admin"),
    "setIssuanceCap": Case({"nonprofit": {"slug": "payer-host"}, "period": "WEEK",
        "amount": money("100", "CUR")}, "platform_admin"),
    "mergeUsers": Case({"from": {"slug": "stranger"}, "into": {"slug": "follower"}}, "platform_admin"),
    "muteTopics": Case({"topics": ["MONEY"]}, SIGNED_IN),
}
# fmt: on
OPEN_TO_ALL = {"signUp", "verifyEmail", "signIn", "requestPasswordReset", "resetPassword"}


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
    shop = await world.community("shop", None, p["admin"], type=CollectiveType.BUSINESS)
    for row in (giver, free, lonely, shop):
        for name in ("follower", "backer", "member", "accountant", "co_admin"):
            role = MemberRole.ADMIN if name == "co_admin" else MemberRole(name.upper())
            ids.setdefault(name, public_id("Member", (await world.member(row, p[name], role)).id))
    await world.fund(giver, "1000.00", by=p["payer_host_admin"])
    await requests(world, p, ids)
    await orders(world, p, ids)
    await redemptions(world, p, ids)
    made = await world.do(
        "createEvent", "event { id }", by=p["co_admin"], parent=of(giver), name="Private", isPublic=False,
        startsAt="2030-01-01T10:00Z", endsAt="2030-01-01T11:00Z",
    )  # fmt: skip
    event = {"id": made["event"]["id"]}
    await world.do("updateCollective", by=p["co_admin"], collective=event, slug=EVENT["slug"])
    await workday(world, p)
    await hours_and_cash_outs(world, p, ids)
    return p, ids


async def hours_and_cash_outs(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Let the payee and an admin log hours, and the payee ask for money."""

    async def made(mutation: str, by: str, **given: Any) -> str:
        done = await world.do(mutation, "order { id }", by=p[by], **given)
        assert done["errors"] == [], done
        return str(done["order"]["id"])

    ids["hours"] = await made("logHours", "payee", **worked(4))
    ids["own_hours"] = await made("logHours", "payer_host_admin", **worked(4))
    await world.fund(p["payee"].user, "100.00", by=p["platform_admin"])
    ids["cash_out"] = await made("cashOut", "payee", amount=TEN)
    ids["approved_cash_out"] = await made("cashOut", "payee", amount=TEN)
    await made("approveOrder", "platform_admin", id=ids["approved_cash_out"])


async def workday(world: World, p: dict[str, Person]) -> None:
    """Make an event of a nonprofit that issues currents: one is registered, one was checked in."""
    async with world.sessions() as session, session.begin():
        approved = "UPDATE collective SET issuer_approved_at = now() WHERE slug = 'payer-host'"
        await session.execute(text(approved))
    host_admin, begun = p["payer_host_admin"], now() - timedelta(hours=1)
    made = await world.do(
        "createEvent", "event { id }", by=host_admin, parent={"slug": "payer-host"}, name="Workday",
        startsAt=begun.isoformat(), endsAt=(begun + timedelta(days=2)).isoformat(),
    )  # fmt: skip
    event = {"id": made["event"]["id"]}
    await world.do("updateCollective", by=host_admin, collective=event, slug=WORKDAY["slug"])
    assert (await world.do("registerForEvent", by=p["backer"], event=event))["errors"] == []
    done = await world.do("checkIn", by=host_admin, event=event, user=of(p["member"]))
    assert done["errors"] == []


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


async def redemptions(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Make an offer, and redemptions of it in every state; everybody has currents, the platform dollars."""
    await world.currents(*p.values())
    await world.fund(world.platform, "100.00", by=p["platform_admin"])
    made = await world.do(
        "createOffer", "offer { id }", by=p["admin"], business=SHOP, item="Tea", currentsSharePercent=50
    )
    ids["offer"] = made["offer"]["id"]

    async def redeemed(by: str) -> str:
        done = await world.do(
            "redeemOffer", "order { id }", by=p[by], offer=ids["offer"], price=TEN, receipt="x"
        )
        return str(done["order"]["id"])

    ids["redemption"], ids["own_redemption"] = await redeemed("payee"), await redeemed("admin")
    ids["approved_redemption"] = await redeemed("payee")
    await world.do("approveOrder", by=p["admin"], id=ids["approved_redemption"])


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
