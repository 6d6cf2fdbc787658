"""A world for the permission matrix: every kind of viewer, and objects in every status."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models import HostApplication, Invitation, Suspension, Token, now
from models.enums import CollectiveType, MemberRole, TokenKind
from services.access.actor import hash_token
from tests.factories import Person, World, money, public_id, ref
from tests.job_world import add_failed_job
from tests.resolvers.matrix_cases import EVENT, GETTER, GIVER, SHOP, TEN, VIEWERS, WORKDAY, hours_input


async def populate(world: World) -> tuple[dict[str, Person], dict[str, str]]:
    """Create the people and the objects."""
    p = {name: await world.person(name.replace("_", "-")) for name in VIEWERS[1:-2]}
    p["platform_admin"], p["platform_accountant"] = world.admin, await world.person("auditor")
    await world.member(world.platform, p["platform_accountant"], MemberRole.ACCOUNTANT)
    payer_host = await world.host("payer-host", p["payer_host_admin"])
    payee_host = await world.host("payee-host", p["payee_host_admin"])
    giver = await world.community("giver", payer_host, p["admin"])
    await world.community("getter", payee_host, p["payee_admin"])
    ids: dict[str, str] = {}
    free, lonely = [await world.community(slug, None, p["admin"]) for slug in ("free", "lonely")]
    leaver = await world.community("leaver", payer_host, p["admin"])
    await create_closed(world, p)
    shop = await world.community("shop", None, p["admin"], collective_type=CollectiveType.BUSINESS)
    for row in (giver, free, lonely, leaver, shop):
        for name in ("follower", "backer", "member", "accountant", "co_admin"):
            role = MemberRole.ADMIN if name == "co_admin" else MemberRole(name.upper())
            ids.setdefault(name, public_id("Member", (await world.member(row, p[name], role)).id))
    await world.fund(giver, "1000.00", by=p["payer_host_admin"])
    await create_requests(world, p, ids)
    await create_orders(world, p, ids)
    await create_redemptions(world, p, ids)
    payload = await world.mutate(
        "createTier", "tier { id }", by=p["admin"], collective=GIVER, type="MEMBERSHIP", name="x", amount=TEN
    )
    ids["tier"] = payload["tier"]["id"]
    await create_methods(world, p, ids)
    await create_gifts(world, p, ids)
    payload = await world.mutate(
        "createEvent",
        "event { id }",
        by=p["co_admin"],
        parent=ref(giver),
        name="Private",
        isPublic=False,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T11:00Z",
    )
    event = {"id": payload["event"]["id"]}
    await world.mutate("updateCollective", by=p["co_admin"], collective=event, slug=EVENT["slug"])
    await create_workday(world, p)
    await create_hours_and_cash_outs(world, p, ids)
    return p, ids


async def create_methods(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Create a payment method of the payer's host, and a payout method of the giver."""
    payload = await world.mutate(
        "createPaymentMethod",
        "paymentMethod { id }",
        by=p["payer_host_admin"],
        host={"slug": "payer-host"},
        name="Cheque",
        type="MANUAL",
    )
    ids["payment_method"] = payload["paymentMethod"]["id"]
    payload = await world.mutate(
        "createPayoutMethod",
        "payoutMethod { id }",
        by=p["admin"],
        collective=GIVER,
        name="Bank",
        type="OTHER",
        details={},
    )
    ids["payout_method"] = payload["payoutMethod"]["id"]


async def create_gifts(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Begin recurring gifts: one goes on, one is paused by its payer, one by its payee."""
    for name, paused_by in (("gift", None), ("paused_gift", "admin"), ("refused_gift", "payee_admin")):
        payload = await world.mutate(
            "donate",
            "subscription { id }",
            by=p["admin"],
            to=GETTER,
            amount=TEN,
            interval="MONTH",
            **{"from": GIVER},
        )
        ids[name] = payload["subscription"]["id"]
        if paused_by is not None:
            paused = await world.mutate("pauseSubscription", by=p[paused_by], id=ids[name])
            assert paused["errors"] == [], paused


async def create_closed(world: World, p: dict[str, Person]) -> None:
    """Create an archived collective of the admins."""
    closed = await world.community("closed", None, p["admin"])
    await world.member(closed, p["co_admin"], MemberRole.ADMIN)
    closed.archived_at = now()
    await world.add(closed)


async def create_hours_and_cash_outs(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Log hours of the payee and of an admin, and request cash-outs of the payee."""

    async def made(mutation: str, by: str, **arguments: Any) -> str:
        payload = await world.mutate(mutation, "order { id }", by=p[by], **arguments)
        assert payload["errors"] == [], payload
        return str(payload["order"]["id"])

    ids["hours"] = await made("logHours", "payee", **hours_input(4))
    ids["own_hours"] = await made("logHours", "payer_host_admin", **hours_input(4))
    await world.fund(p["payee"].user, "100.00", by=p["platform_admin"])
    ids["cash_out"] = await made("cashOut", "payee", amount=TEN)
    ids["approved_cash_out"] = await made("cashOut", "payee", amount=TEN)
    await made("approveOrder", "platform_admin", id=ids["approved_cash_out"])
    ids["paid_hours"] = await made("logHours", "payee", **hours_input(3))
    await made("approveOrder", "payer_host_admin", id=ids["paid_hours"])
    ids["paid_cash_out"] = await made("cashOut", "payee", amount=TEN)
    await made("approveOrder", "platform_admin", id=ids["paid_cash_out"])
    await made("payOrder", "platform_admin", id=ids["paid_cash_out"])


async def create_workday(world: World, p: dict[str, Person]) -> None:
    """Create an event of an issuing nonprofit with a registered and a checked-in user."""
    async with world.sessions() as session, session.begin():
        approved = "UPDATE collective SET issuer_approved_at = now() WHERE slug = 'payer-host'"
        await session.execute(text(approved))
    host_admin, begun = p["payer_host_admin"], now() - timedelta(hours=1)
    payload = await world.mutate(
        "createEvent",
        "event { id }",
        by=host_admin,
        parent={"slug": "payer-host"},
        name="Workday",
        startsAt=begun.isoformat(),
        endsAt=(begun + timedelta(days=2)).isoformat(),
    )
    event = {"id": payload["event"]["id"]}
    await world.mutate("updateCollective", by=host_admin, collective=event, slug=WORKDAY["slug"])
    assert (await world.mutate("registerForEvent", by=p["backer"], event=event))["errors"] == []
    result = await world.mutate("checkIn", by=host_admin, event=event, user=ref(p["member"]))
    assert result["errors"] == []


async def create_requests(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    async def row_id(slug: str) -> Any:
        return await world.scalar("SELECT id FROM collective WHERE slug = :slug", slug=slug)

    invitation = Invitation(
        collective_id=await row_id("giver"),
        user_id=p["invitee"].user.id,
        role=MemberRole.MEMBER,
        created_by_id=p["admin"].user.id,
    )
    application = HostApplication(
        collective_id=await row_id("lonely"),
        host_id=await row_id("payer-host"),
        created_by_id=p["admin"].user.id,
    )
    would_be = await world.community("would-be", None, p["admin"], collective_type=CollectiveType.NONPROFIT)
    await world.member(would_be, p["co_admin"], MemberRole.ADMIN)
    host_application = HostApplication(
        collective_id=would_be.id, host_id=would_be.id, created_by_id=p["admin"].user.id
    )
    token = Token(
        user_id=p["member"].user.id,
        kind=TokenKind.ACCESS,
        token_hash=hash_token("members-own"),
        name="x",
        scopes=["READ"],
        expires_at=now() + timedelta(days=1),
    )
    ids["invitation"] = public_id("Invitation", invitation.id)
    ids["application"] = public_id("HostApplication", application.id)
    ids["host_application"] = public_id("HostApplication", host_application.id)
    ids["token"] = public_id("AccessToken", token.id)
    ids["session"] = public_id("Session", token.id)
    ids["passkey"] = public_id("Passkey", token.id)
    ids["identity"] = public_id("LinkedIdentity", token.id)
    ids["job"] = public_id("Job", UUID(int=await add_failed_job(world.sessions)))
    suspended = await world.person("suspended")
    await world.add(Suspension(user_id=suspended.user.id, by_id=world.admin.user.id, reason="x"))
    for row in (invitation, application, host_application, token):
        await world.add(row)


async def create_orders(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Create orders in every status; `creator` was ADMIN of both sides while creating some."""

    async def made(mutation: str, by: str, **arguments: Any) -> str:
        payload = await world.mutate(mutation, "order { id }", by=p[by], **arguments)
        assert payload["errors"] == [], payload
        return str(payload["order"]["id"])

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
    hosts: dict[str, Any] = {"from": {"slug": "payer-host"}, "to": {"slug": "payee-host"}}
    ids["settlement"] = await made(
        "settleHosts", "payer_host_admin", **hosts, amount=money("5.00"), reference="x"
    )
    ids["funds"] = await made("addFunds", "payer_host_admin", to=GIVER, amount=TEN)
    ids["claimed"] = await made("addFunds", "payer_host_admin", to=GIVER, amount=TEN, **{"from": GETTER})


async def create_redemptions(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
    """Create an offer with redemptions in every status; all viewers have currents, the platform dollars."""
    await world.currents(*p.values())
    await world.fund(world.platform, "100.00", by=p["platform_admin"])
    payload = await world.mutate(
        "createOffer", "offer { id }", by=p["admin"], business=SHOP, item="Tea", currentsSharePercent=50
    )
    ids["offer"] = payload["offer"]["id"]

    async def redeemed(by: str) -> str:
        result = await world.mutate(
            "redeemOffer", "order { id }", by=p[by], offer=ids["offer"], price=TEN, receipt="x"
        )
        return str(result["order"]["id"])

    ids["redemption"], ids["own_redemption"] = await redeemed("payee"), await redeemed("admin")
    ids["approved_redemption"] = await redeemed("payee")
    await world.mutate("approveOrder", by=p["admin"], id=ids["approved_redemption"])
    ids["paid_redemption"] = await redeemed("payee")
    await world.mutate("approveOrder", by=p["admin"], id=ids["paid_redemption"])
    await world.mutate("payOrder", by=world.admin, id=ids["paid_redemption"])
