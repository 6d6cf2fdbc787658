"""Gifts by pretended card: one that a bank disputes, and one of a guest who has claimed it."""

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import ProviderEvent
from models.enums import ProviderName
from schema.demo.driver import DOMAIN, Demo
from services.payments import fake_payments, processing
from services.providers.fake import DISPUTED, SUCCEEDS, FakeProvider
from services.providers.offered import Providers

GUEST = f"gale@{DOMAIN}"
_PROVIDERS: Providers = {ProviderName.FAKE: FakeProvider()}
_TOKEN = text("SELECT payload ->> 'token' FROM outbox WHERE template = 'guest_receipt'")


async def load(demo: Demo, sessions: async_sessionmaker[AsyncSession]) -> None:
    """Connect a host to the pretended provider, and let two givers pay by card."""
    connected = await demo.mutate(
        "opensource-admin",
        "connectHost",
        "paymentMethod { id }",
        host={"slug": "opensource"},
        provider=ProviderName.FAKE,
    )
    gift: dict[str, Any] = {
        "to": {"slug": "webpack"},
        "amount": {"value": "20.00", "currency": "USD"},
        "payWith": {"id": connected["paymentMethod"]["id"]},
    }
    disputed = gift | {"from": {"slug": "xdamman"}, "description": "Disputed by the bank"}
    await _pay(sessions, await demo.mutate("xdamman", "donate", "clientSecret", **disputed), DISPUTED)
    guests = gift | {"email": GUEST, "name": "Gale Guest", "description": "Given as a guest"}
    await _pay(sessions, await demo.mutate("", "donateAsGuest", "clientSecret", **guests), SUCCEEDS)
    async with sessions() as session:
        token = (await session.execute(_TOKEN)).scalar_one()
    await demo.claim(GUEST, token=token)


async def _pay(sessions: async_sessionmaker[AsyncSession], gift: dict[str, Any], number: str) -> None:
    """Pay a gift with a pretended card, and do what the provider tells of it."""
    async with sessions.begin() as session:
        await fake_payments.pay(
            session,
            _PROVIDERS[ProviderName.FAKE],
            client_secret=gift["clientSecret"],
            number=number,
            is_step_done=True,
        )
    waiting = select(col(ProviderEvent.id)).where(col(ProviderEvent.processed_at).is_(None))
    async with sessions() as session:
        event_ids = (await session.execute(waiting.order_by(col(ProviderEvent.id)))).scalars().all()
    for event_id in event_ids:
        await processing.process(sessions, _PROVIDERS, event_id=event_id)
