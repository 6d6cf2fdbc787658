"""The demo world: made through the public mutations, always the same, every password `oc`."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, Outbox, now
from schema.demo import volunteers
from schema.execution import unit_of_work
from services.approvals import decisions
from services.collectives import platform_policy
from services.core.errors import Conflict, Invalid
from services.core.settings import Settings

PASSWORD = "oc"  # noqa: S105 - the demo's, and never outside it
DOMAIN = "commonweal.test"


class Demo:
    """Asks as the people of the demo world do."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
        self._sessions, self._settings = sessions, settings
        self._tokens: dict[str, str] = {}

    async def do(self, who: str | None, mutation: str, fields: str, **given: Any) -> Any:
        """Run a mutation as somebody; return its payload."""
        name = mutation[0].upper() + mutation[1:]
        request = unit_of_work.Request(
            query=f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {fields} "
            "errors { code message path } } }",
            variables={"i": given},
            token=self._tokens[who] if who else None,
        )
        answer = await unit_of_work.execute(
            request, sessions=self._sessions, settings=self._settings, demo=True
        )
        payload = (answer.body.get("data") or {}).get(mutation)
        if payload is None or payload["errors"]:
            raise Invalid(f"The demo world failed at {mutation}: {answer.body}")
        return payload

    async def person(self, email: str, name: str, slug: str, *, currency: str = "USD") -> None:
        """Sign somebody up, follow the mailed link, and take a slug."""
        await self.do(
            None,
            "signUp",
            "user { id }",
            email=email,
            name=name,
            password=PASSWORD,
            currency=currency,
        )
        done = await self.do(
            None, "verifyEmail", "user { slug } session { token }", token=await self._mailed(email)
        )
        self._tokens[slug] = done["session"]["token"]
        await self.do(slug, "updateCollective", "", collective={"slug": done["user"]["slug"]}, slug=slug)

    async def _mailed(self, email: str) -> str:
        """Read the token of the last mail to an address, and take the mail as delivered."""
        async with self._sessions() as session, session.begin():
            statement = (
                select(Outbox)
                .where(col(Outbox.recipient) == email, col(Outbox.template) == "verify_email")
                .order_by(col(Outbox.id).desc())
                .limit(1)
            )
            mail = (await session.execute(statement)).scalar_one()
            token: str = mail.payload["token"]
            mail.payload, mail.delivered_at = {}, now()
            return token

    async def collective(
        self, slug: str, kind: str, name: str, *, currency: str = "USD", is_host: bool = False
    ) -> None:
        """Make a collective and the person who is its admin."""
        admin = f"{slug}-admin"
        await self.person(f"{admin}@{DOMAIN}", f"{name} admin", admin)
        await self.do(
            admin,
            "createCollective",
            "",
            type=kind,
            name=name,
            slug=slug,
            currency=currency,
            isHost=is_host,
        )

    async def hosted(self, slug: str, host: str) -> None:
        """Apply to a host, which says yes."""
        asked = await self.do(
            f"{slug}-admin",
            "applyToHost",
            "application { id }",
            collective={"slug": slug},
            host={"slug": host},
            message="We would like to be hosted by you.",
        )
        await self.do(
            f"{host}-admin",
            "decideHostApplication",
            "",
            id=asked["application"]["id"],
            approve=True,
        )

    async def order(self, who: str, mutation: str, **given: Any) -> str:
        """Make an order; return its id."""
        done = await self.do(who, mutation, "order { id }", **given)
        order_id: str = done["order"]["id"]
        return order_id

    async def has_dollars(self, who: str) -> bool:
        """Whether somebody has a dollar or more."""
        query = """{ me { balance(currency: "USD") { available { minorUnits } } } }"""
        answer = await self.ask(who, query)
        return int(answer["me"]["balance"]["available"]["minorUnits"]) >= 100

    async def ask(self, who: str, query: str) -> Any:
        """Run a query as somebody; return its data."""
        request = unit_of_work.Request(query=query, token=self._tokens[who])
        answer = await unit_of_work.execute(request, sessions=self._sessions, settings=self._settings)
        return answer.body["data"]

    async def drop_mails(self) -> None:
        """Take the mails of the demo as delivered: its addresses are nobody's."""
        async with self._sessions() as session, session.begin():
            waiting = select(Outbox).where(col(Outbox.delivered_at).is_(None))
            for mail in (await session.execute(waiting)).scalars():
                mail.payload, mail.delivered_at = {}, now()


async def is_empty(sessions: async_sessionmaker[AsyncSession]) -> bool:
    """Whether there is nothing but the platform."""
    async with sessions() as session:
        others = select(col(Collective.id)).where(~col(Collective.is_platform)).limit(1)
        return (await session.execute(others)).scalar_one_or_none() is None


async def load(sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
    """Make the demo world.

    Raises:
        Invalid: in production mode.
        Conflict: the database has other data.
    """
    if settings.production:
        raise Invalid("The demo world is not for production")
    if not await is_empty(sessions):
        raise Conflict("The database has data; the demo world wants an empty one")
    world = Demo(sessions, settings)
    async with sessions() as session, session.begin():
        await platform_policy.add_admin(session, email=f"admin@{DOMAIN}")
    await _people_and_collectives(world)
    await _income(world)
    await _expenses(world)
    await _open_ends(world, sessions)
    await volunteers.load(world)
    await world.drop_mails()


def _usd(value: str) -> dict[str, str]:
    return {"value": value, "currency": "USD"}


def _of(slug: str) -> dict[str, str]:
    return {"slug": slug}


async def _people_and_collectives(world: Demo) -> None:
    await world.person(f"admin@{DOMAIN}", "Platform admin", "platform-admin")
    await world.person(f"xdamman@{DOMAIN}", "Xavier Damman", "xdamman")
    await world.person(f"piamancini@{DOMAIN}", "Pia Mancini", "piamancini", currency="EUR")
    await world.do("platform-admin", "setPlatformPolicy", "", platformFeeBps=500)
    for base, quote, rate in (("EUR", "USD", "1.1481"), ("USD", "JPY", "149.25")):
        await world.do("platform-admin", "setFxRate", "", **{"from": base}, to=quote, rate=rate)
    await world.collective("opensource", "NONPROFIT", "Open Source Collective", is_host=True)
    await world.collective("wwcode", "NONPROFIT", "Women Who Code", is_host=True)
    await world.do("wwcode-admin", "updateCollective", "", collective=_of("wwcode"), hostFeeBps=500)
    await world.do("opensource-admin", "updateCollective", "", collective=_of("opensource"), hostFeeBps=1000)
    await world.collective("webpack", "COMMUNITY", "Webpack")
    await world.collective("wwcodeberlin", "COMMUNITY", "WWCode Berlin", currency="EUR")
    await world.collective("tokyojs", "COMMUNITY", "Tokyo JS", currency="JPY")
    await world.collective("digitalocean", "BUSINESS", "DigitalOcean")
    await world.hosted("webpack", "opensource")
    await world.hosted("tokyojs", "opensource")
    await world.hosted("wwcodeberlin", "wwcode")
    await world.collective("yeoman", "COMMUNITY", "Yeoman")
    await world.do(
        "yeoman-admin",
        "applyToHost",
        "",
        collective=_of("yeoman"),
        host=_of("opensource"),
        message="May we join?",
    )
    invited = await world.do(
        "webpack-admin",
        "inviteMember",
        "invitation { id }",
        collective=_of("webpack"),
        role="MEMBER",
        user=_of("piamancini"),
    )
    await world.do("piamancini", "respondToInvitation", "", id=invited["invitation"]["id"], accept=True)
    await world.do(
        "webpack-admin",
        "inviteMember",
        "",
        collective=_of("webpack"),
        role="ACCOUNTANT",
        email=f"accountant@{DOMAIN}",
    )
    await world.do("xdamman", "followCollective", "", collective=_of("webpack"))
    for name, is_public, days in (("Meetup 4", True, 30), ("Organizers' dinner", False, 31)):
        starts = now().replace(hour=17, minute=0, second=0, microsecond=0) + timedelta(days=days)
        await world.do(
            "wwcodeberlin-admin",
            "createEvent",
            "",
            parent=_of("wwcodeberlin"),
            name=name,
            startsAt=starts.isoformat(),
            endsAt=(starts + timedelta(hours=3)).isoformat(),
            timezone="Europe/Berlin",
            isPublic=is_public,
            capacity=40,
        )


async def _income(world: Demo) -> None:
    await world.order(
        "opensource-admin",
        "addFunds",
        to=_of("webpack"),
        amount=_usd("5000.00"),
        **{"from": _of("digitalocean")},
        description="Sponsorship of the year",
    )
    await world.order(
        "opensource-admin",
        "addFunds",
        to=_of("opensource"),
        amount=_usd("1000.00"),
        description="Money of unknown origin",
    )
    await world.order(
        "wwcode-admin",
        "addFunds",
        to=_of("wwcode"),
        amount=_usd("800.00"),
        description="Opening balance",
    )
    await world.order(
        "opensource-admin",
        "addFunds",
        to=_of("tokyojs"),
        amount={"value": "120000", "currency": "JPY"},
        description="Conference surplus",
    )
    await world.order(
        "platform-admin",
        "addFunds",
        to=_of("xdamman"),
        amount=_usd("500.00"),
        description="Top-up",
        hostFeeBps=0,
    )
    card = await world.do(
        "wwcode-admin",
        "createPaymentMethod",
        "paymentMethod { id }",
        host=_of("wwcode"),
        name="Card",
        type="BALANCE",
        feeBps=290,
        feeFixed=_usd("0.30"),
    )
    await world.order(
        "webpack-admin",
        "donate",
        **{"from": _of("webpack")},
        to=_of("wwcodeberlin"),
        amount={"value": "100.00", "currency": "EUR"},
        paymentMethod=card["paymentMethod"]["id"],
        description="For the meetups in Berlin",
    )
    await world.order(
        "xdamman",
        "donate",
        **{"from": _of("xdamman")},
        to=_of("webpack"),
        amount=_usd("20.00"),
        description="Thank you for the bundles",
    )
    manual = await world.order(
        "xdamman",
        "donate",
        **{"from": _of("xdamman")},
        to=_of("webpack"),
        amount=_usd("100.00"),
        paymentMethod="MANUAL",
        description="By bank transfer",
    )
    await world.order("opensource-admin", "approveOrder", id=manual)
    await world.order(
        "webpack-admin",
        "transferFunds",
        **{"from": _of("webpack")},
        to=_of("tokyojs"),
        amount={"value": "15000", "currency": "JPY"},
        description="For the joint workshop",
    )


async def _expenses(world: Demo) -> None:
    paid = await _expense(world, "xdamman", "webpack", "xdamman", "Stickers", [("Print", "60.00")])
    await world.order("webpack-admin", "approveOrder", id=paid)
    await world.order("opensource-admin", "payOrder", id=paid, processorFee=_usd("1.05"))
    invoice = await _expense(
        world,
        "digitalocean-admin",
        "webpack",
        "digitalocean",
        "Servers",
        [("Droplets", "240.00"), ("Backups", "60.00")],
    )
    await world.order("webpack-admin", "approveOrder", id=invoice)
    await world.order("opensource-admin", "payOrder", id=invoice)
    returned = await _expense(
        world, "xdamman", "webpack", "xdamman", "Hotel, cancelled later", [("Hotel", "90.00")]
    )
    await world.order("webpack-admin", "approveOrder", id=returned)
    await world.order("opensource-admin", "payOrder", id=returned)
    await world.order("opensource-admin", "refundOrder", id=returned, reason="The hotel gave it back")
    into_balance = await world.order(
        "xdamman",
        "submitExpense",
        **{"from": _of("webpack")},
        to=_of("xdamman"),
        amount=_usd("45.00"),
        payoutMethod="BALANCE",
        description="Train",
        receipts=["ticket-17"],
    )
    await world.order("webpack-admin", "approveOrder", id=into_balance)
    euros = await world.order(
        "piamancini",
        "submitExpense",
        **{"from": _of("wwcodeberlin")},
        to=_of("piamancini"),
        amount={"value": "25.00", "currency": "EUR"},
        description="Snacks",
        receipts=["till-3"],
    )
    await world.order(
        "wwcodeberlin-admin",
        "approveOrder",
        id=euros,
        amount={"value": "22.50", "currency": "EUR"},
        reason="The deposit is not ours",
    )


async def _expense(
    world: Demo, who: str, payer: str, payee: str, description: str, items: list[tuple[str, str]]
) -> str:
    return await world.order(
        who,
        "submitExpense",
        **{"from": _of(payer)},
        to=_of(payee),
        description=description,
        items=[{"description": text, "amount": _usd(value)} for text, value in items],
        receipts=["receipt-1"],
    )


async def _open_ends(world: Demo, sessions: async_sessionmaker[AsyncSession]) -> None:
    """Leave an order in each other state: waiting, refused, withdrawn, expired, refunded."""
    await _expense(world, "xdamman", "webpack", "xdamman", "New keyboard", [("Keyboard", "120.50")])
    refused = await _expense(world, "xdamman", "webpack", "xdamman", "Champagne", [("Champagne", "99.00")])
    await world.order("webpack-admin", "rejectOrder", id=refused, reason="Not from this budget")
    withdrawn = await _expense(
        world, "xdamman", "webpack", "xdamman", "Submitted twice", [("Print", "60.00")]
    )
    await world.order("xdamman", "cancelOrder", id=withdrawn, reason="A duplicate")
    gift = {"from": _of("xdamman"), "to": _of("webpack"), "paymentMethod": "MANUAL"}
    await world.order("xdamman", "donate", **gift, amount=_usd("50.00"), description="On its way")
    returned = await world.order(
        "xdamman", "donate", **gift, amount=_usd("30.00"), description="Sent by mistake"
    )
    await world.order("opensource-admin", "approveOrder", id=returned)
    await world.order(
        "opensource-admin", "refundOrder", id=returned, amount=_usd("10.00"), reason="Part of it"
    )
    await world.order("opensource-admin", "refundOrder", id=returned, reason="The rest")
    soon = now() + timedelta(milliseconds=300)
    await world.order(
        "xdamman",
        "donate",
        **gift,
        amount=_usd("15.00"),
        description="Never sent",
        expiresAt=soon.isoformat(),
    )
    await asyncio.sleep(max(0.0, (soon - now()).total_seconds()) + 0.05)
    async with sessions() as session, session.begin():
        await decisions.expire(session)
