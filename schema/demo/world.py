"""The demo world: created through the public mutations, always the same, every password `oc`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, DemoLoad, now
from schema.demo import cards, clearing, gifts, tiers, volunteers
from schema.demo.driver import DOMAIN, Demo
from services.approvals import decisions
from services.collectives import platform_policy
from services.core.errors import Conflict, Invalid
from services.core.settings import Settings

OPERATIONS = 270
"""About how many operations make the demo world, for a progress bar."""


class LoadState(StrEnum):
    """How far the demo world is loaded."""

    NOT_BEGUN = "NOT_BEGUN"
    """The database holds nothing but the platform."""
    INTERRUPTED = "INTERRUPTED"
    """Loading began and has not ended; it goes on, or it was interrupted."""
    OTHER = "OTHER"
    """The whole demo world is loaded, or other data are."""


async def find_state(sessions: async_sessionmaker[AsyncSession]) -> LoadState:
    """Find how far the demo world is loaded."""
    async with sessions() as session:
        marker = (await session.execute(select(DemoLoad))).scalar_one_or_none()
        if marker is not None:
            return LoadState.OTHER if marker.finished_at else LoadState.INTERRUPTED
        others = select(col(Collective.id)).where(~col(Collective.is_platform)).limit(1)
        is_empty = (await session.execute(others)).scalar_one_or_none() is None
        return LoadState.NOT_BEGUN if is_empty else LoadState.OTHER


async def load(
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    *,
    on_operation: Callable[[], None] = lambda: None,
) -> None:
    """Load the demo world into an empty database; `on_operation` is called after each operation.

    Raises:
        Invalid: in production mode.
        Conflict: the database has other data, or half a world.
    """
    if settings.production:
        raise Invalid("The demo world cannot be loaded in production.")
    if await find_state(sessions) is not LoadState.NOT_BEGUN:
        raise Conflict("The database has data. Load the demo world into an empty database.")
    demo = Demo(sessions, replace(settings, fake_provider=True), on_operation)
    async with sessions() as session, session.begin():
        session.add(DemoLoad())
        await platform_policy.add_admin(session, email=f"admin@{DOMAIN}")
    await _people_and_collectives(demo)
    await clearing.set_limits(demo)
    await _income(demo)
    await tiers.load(demo)
    await clearing.settle(demo)
    await _expenses(demo)
    await _open_ends(demo, sessions)
    await gifts.load(demo, sessions)
    await cards.load(demo, sessions)
    await volunteers.load(demo)
    await demo.discard_mails()
    async with sessions() as session, session.begin():
        await session.execute(update(DemoLoad).values(finished_at=now()))


def _usd(value: str) -> dict[str, str]:
    return {"value": value, "currency": "USD"}


def _of(slug: str) -> dict[str, str]:
    return {"slug": slug}


async def _people_and_collectives(demo: Demo) -> None:
    await demo.create_user(f"admin@{DOMAIN}", "Platform admin", "platform-admin")
    await demo.create_user(f"xdamman@{DOMAIN}", "Xavier Damman", "xdamman")
    await demo.create_user(f"piamancini@{DOMAIN}", "Pia Mancini", "piamancini", currency="EUR")
    await demo.mutate("platform-admin", "setPlatformPolicy", "", platformFeeBps=500)
    for base, quote, rate in (("EUR", "USD", "1.1481"), ("USD", "JPY", "149.25")):
        await demo.mutate("platform-admin", "setFxRate", "", **{"from": base}, to=quote, rate=rate)
    await demo.create_collective(
        "opensource", "NONPROFIT", "Open Source Collective", "open source", "fiscal host", is_host=True
    )
    await demo.create_collective(
        "wwcode", "NONPROFIT", "Women Who Code", "women", "coding", "fiscal host", is_host=True
    )
    await demo.mutate("wwcode-admin", "updateCollective", "", collective=_of("wwcode"), hostFeeBps=500)
    await demo.mutate(
        "opensource-admin", "updateCollective", "", collective=_of("opensource"), hostFeeBps=1000
    )
    await demo.create_collective("webpack", "COMMUNITY", "Webpack", "open source", "javascript")
    await demo.create_collective(
        "wwcodeberlin", "COMMUNITY", "WWCode Berlin", "women", "coding", "Berlin", currency="EUR"
    )
    await demo.create_collective(
        "tokyojs", "COMMUNITY", "Tokyo JS", "javascript", "meetup", "Tokyo", currency="JPY"
    )
    await demo.create_collective("digitalocean", "BUSINESS", "DigitalOcean", "cloud")
    await demo.join_host("webpack", "opensource")
    await demo.join_host("tokyojs", "opensource")
    await demo.join_host("wwcodeberlin", "wwcode")
    await demo.create_collective("yeoman", "COMMUNITY", "Yeoman", "open source", "javascript")
    await demo.mutate(
        "yeoman-admin",
        "applyToHost",
        "",
        collective=_of("yeoman"),
        host=_of("opensource"),
        message="May we join?",
    )
    invited = await demo.mutate(
        "webpack-admin",
        "inviteMember",
        "invitation { id }",
        collective=_of("webpack"),
        role="MEMBER",
        user=_of("piamancini"),
    )
    await demo.mutate("piamancini", "respondToInvitation", "", id=invited["invitation"]["id"], accept=True)
    await demo.mutate(
        "webpack-admin",
        "inviteMember",
        "",
        collective=_of("webpack"),
        role="ACCOUNTANT",
        email=f"accountant@{DOMAIN}",
    )
    await demo.mutate("xdamman", "followCollective", "", collective=_of("webpack"))
    for name, is_public, days in (("Meetup 4", True, 30), ("Organizers' dinner", False, 31)):
        starts = now().replace(hour=17, minute=0, second=0, microsecond=0) + timedelta(days=days)
        await demo.mutate(
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


async def _income(demo: Demo) -> None:
    await demo.mutate_order(
        "opensource-admin",
        "addFunds",
        to=_of("webpack"),
        amount=_usd("5000.00"),
        **{"from": _of("digitalocean")},
        description="Sponsorship of the year",
    )
    await demo.mutate_order(
        "opensource-admin",
        "addFunds",
        to=_of("opensource"),
        amount=_usd("1000.00"),
        description="Money of unknown origin",
    )
    await demo.mutate_order(
        "wwcode-admin",
        "addFunds",
        to=_of("wwcode"),
        amount=_usd("800.00"),
        description="Opening balance",
    )
    await demo.mutate_order(
        "opensource-admin",
        "addFunds",
        to=_of("tokyojs"),
        amount={"value": "120000", "currency": "JPY"},
        description="Conference surplus",
    )
    await demo.mutate_order(
        "platform-admin",
        "addFunds",
        to=_of("xdamman"),
        amount=_usd("500.00"),
        description="Top-up",
        hostFeeBps=0,
    )
    card = await demo.mutate(
        "wwcode-admin",
        "createPaymentMethod",
        "paymentMethod { id }",
        host=_of("wwcode"),
        name="Card",
        type="BALANCE",
        feeBps=290,
        feeFixed=_usd("0.30"),
    )
    await demo.mutate_order(
        "webpack-admin",
        "donate",
        **{"from": _of("webpack")},
        to=_of("wwcodeberlin"),
        amount={"value": "100.00", "currency": "EUR"},
        paymentMethod=card["paymentMethod"]["id"],
        description="For the meetups in Berlin",
    )
    await demo.mutate_order(
        "xdamman",
        "donate",
        **{"from": _of("xdamman")},
        to=_of("webpack"),
        amount=_usd("20.00"),
        description="Thank you for the bundles",
    )
    await demo.mutate_order(
        "xdamman",
        "donate",
        **{"from": _of("xdamman")},
        to=_of("webpack"),
        amount=_usd("7.00"),
        description="From a friend",
        isIncognito=True,
    )
    manual = await demo.mutate_order(
        "xdamman",
        "donate",
        **{"from": _of("xdamman")},
        to=_of("webpack"),
        amount=_usd("100.00"),
        paymentMethod="MANUAL",
        description="By bank transfer",
    )
    await demo.mutate_order("opensource-admin", "approveOrder", id=manual)
    await demo.mutate_order(
        "webpack-admin",
        "transferFunds",
        **{"from": _of("webpack")},
        to=_of("tokyojs"),
        amount={"value": "15000", "currency": "JPY"},
        description="For the joint workshop",
    )


async def _expenses(demo: Demo) -> None:
    paid = await _expense(demo, "xdamman", "webpack", "xdamman", "Stickers", [("Print", "60.00")])
    await demo.mutate_order("webpack-admin", "approveOrder", id=paid)
    await demo.mutate_order("opensource-admin", "payOrder", id=paid, processorFee=_usd("1.05"))
    invoice = await _expense(
        demo,
        "digitalocean-admin",
        "webpack",
        "digitalocean",
        "Servers",
        [("Droplets", "240.00"), ("Backups", "60.00")],
    )
    await demo.mutate_order("webpack-admin", "approveOrder", id=invoice)
    await demo.mutate_order("opensource-admin", "payOrder", id=invoice)
    returned = await _expense(
        demo, "xdamman", "webpack", "xdamman", "Hotel, cancelled later", [("Hotel", "90.00")]
    )
    await demo.mutate_order("webpack-admin", "approveOrder", id=returned)
    await demo.mutate_order("opensource-admin", "payOrder", id=returned)
    await demo.mutate_order("opensource-admin", "refundOrder", id=returned, reason="The hotel gave it back")
    into_balance = await demo.mutate_order(
        "xdamman",
        "submitExpense",
        **{"from": _of("webpack")},
        to=_of("xdamman"),
        amount=_usd("45.00"),
        payoutMethod="BALANCE",
        description="Train",
        receipts=["ticket-17"],
    )
    await demo.mutate_order("webpack-admin", "approveOrder", id=into_balance)
    euros = await demo.mutate_order(
        "piamancini",
        "submitExpense",
        **{"from": _of("wwcodeberlin")},
        to=_of("piamancini"),
        amount={"value": "25.00", "currency": "EUR"},
        description="Snacks",
        receipts=["till-3"],
    )
    await demo.mutate_order(
        "wwcodeberlin-admin",
        "approveOrder",
        id=euros,
        amount={"value": "22.50", "currency": "EUR"},
        reason="The deposit is not ours",
    )


async def _expense(
    demo: Demo, user: str, payer: str, payee: str, description: str, items: list[tuple[str, str]]
) -> str:
    return await demo.mutate_order(
        user,
        "submitExpense",
        **{"from": _of(payer)},
        to=_of(payee),
        description=description,
        items=[{"description": text, "amount": _usd(value)} for text, value in items],
        receipts=["receipt-1"],
    )


async def _open_ends(demo: Demo, sessions: async_sessionmaker[AsyncSession]) -> None:
    """Leave orders in all other states: pending, rejected, cancelled, expired and refunded."""
    await _expense(demo, "xdamman", "webpack", "xdamman", "New keyboard", [("Keyboard", "120.50")])
    refused = await _expense(demo, "xdamman", "webpack", "xdamman", "Champagne", [("Champagne", "99.00")])
    await demo.mutate_order("webpack-admin", "rejectOrder", id=refused, reason="Not from this budget")
    withdrawn = await _expense(demo, "xdamman", "webpack", "xdamman", "Submitted twice", [("Print", "60.00")])
    await demo.mutate_order("xdamman", "cancelOrder", id=withdrawn, reason="A duplicate")
    donation = {"from": _of("xdamman"), "to": _of("webpack"), "paymentMethod": "MANUAL"}
    await demo.mutate_order("xdamman", "donate", **donation, amount=_usd("50.00"), description="On its way")
    returned = await demo.mutate_order(
        "xdamman", "donate", **donation, amount=_usd("30.00"), description="Sent by mistake"
    )
    await demo.mutate_order("opensource-admin", "approveOrder", id=returned)
    await demo.mutate_order(
        "opensource-admin", "refundOrder", id=returned, amount=_usd("10.00"), reason="Part of it"
    )
    await demo.mutate_order("opensource-admin", "refundOrder", id=returned, reason="The rest")
    await _let_expire(demo, donation)
    async with sessions() as session, session.begin():
        await decisions.expire_due_orders(session)


async def _let_expire(demo: Demo, donation: dict[str, Any]) -> None:
    """Promise a donation that expires at once; on a slow machine, a little later."""
    for seconds in (0.3, 3.0, 30.0):
        soon = now() + timedelta(seconds=seconds)
        try:
            await demo.mutate_order(
                "xdamman",
                "donate",
                **donation,
                amount=_usd("15.00"),
                description="Never sent",
                expiresAt=soon.isoformat(),
            )
        except Invalid:
            if now() < soon:
                raise
        else:
            await asyncio.sleep(max(0.0, (soon - now()).total_seconds()) + 0.05)
            return
