"""The world that the permission matrix is walked in: people of every kind, objects in every state."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from models import HostApplication, Invitation, Token, now
from models.enums import CollectiveType, MemberRole, TokenKind
from services.access.actor import token_hash
from tests.factories import Person, World, of, public_id
from tests.resolvers.matrix_cases import EVENT, GETTER, GIVER, SHOP, TEN, VIEWERS, WORKDAY, worked


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
        "createEvent",
        "event { id }",
        by=p["co_admin"],
        parent=of(giver),
        name="Private",
        isPublic=False,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T11:00Z",
    )
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
        "createEvent",
        "event { id }",
        by=host_admin,
        parent={"slug": "payer-host"},
        name="Workday",
        startsAt=begun.isoformat(),
        endsAt=(begun + timedelta(days=2)).isoformat(),
    )
    event = {"id": made["event"]["id"]}
    await world.do("updateCollective", by=host_admin, collective=event, slug=WORKDAY["slug"])
    assert (await world.do("registerForEvent", by=p["backer"], event=event))["errors"] == []
    done = await world.do("checkIn", by=host_admin, event=event, user=of(p["member"]))
    assert done["errors"] == []


async def requests(world: World, p: dict[str, Person], ids: dict[str, str]) -> None:
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
    token = Token(
        user_id=p["member"].user.id,
        kind=TokenKind.ACCESS,
        token_hash=token_hash("members-own"),
        name="x",
        scopes=["READ"],
        expires_at=now() + timedelta(days=1),
    )
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
