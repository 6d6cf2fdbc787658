"""Gifts by pretended card: one disputed, one of a guest who has claimed it, and two that repeat."""

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import (
    Collective,
    PaymentMethod,
    ProviderEvent,
    ProviderPayment,
    RecurringGift,
    new_id,
    now,
)
from models.enums import GiftInterval, GiftStatus, PaymentMethodKind, ProviderName, ProviderPaymentStatus
from schema.demo.driver import DOMAIN, Demo
from services.access.actor import Actor
from services.core.party import Party
from services.orders.history import creation_step, insert_order
from services.payments import charges, fake_payments, processing
from services.providers import fake
from services.providers.fake import DISPUTED, STEP_LATER, SUCCEEDS, FakeProvider
from services.providers.offered import Providers
from services.recurring import charging, periods
from services.recurring.charge_methods import Charge, build_gift_order

GUEST = f"gale@{DOMAIN}"
_PROVIDERS: Providers = {ProviderName.FAKE: FakeProvider()}
_CHARGED = text(
    'SELECT o.id FROM "order" o JOIN provider_payment p ON p.order_id = o.id WHERE p.external_id IS NULL'
)
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
    monthly = gift | {"from": {"slug": "xdamman"}, "interval": "MONTH", "description": "Every month by card"}
    await _pay(sessions, await demo.mutate("xdamman", "donate", "clientSecret", **monthly), SUCCEEDS)
    await _pay(sessions, await _begin_a_month_ago(sessions), STEP_LATER)
    await charging.charge_due(sessions)
    async with sessions() as session:
        order_id = (await session.execute(_CHARGED)).scalar_one()
    await charges.charge(sessions, _PROVIDERS, order_id=order_id)


async def _begin_a_month_ago(sessions: async_sessionmaker[AsyncSession]) -> dict[str, Any]:
    """Begin a gift by card of xdamman to webpack, of which a charge is due today."""
    today = now().date()
    started = periods.day_in_month(today.year - (today.month == 1), (today.month - 2) % 12 + 1, today.day)
    async with sessions.begin() as session:
        slugs = col(Collective.slug).in_(("xdamman", "webpack"))
        sides = {row.slug: row for row in (await session.execute(select(Collective).where(slugs))).scalars()}
        host = await session.get_one(Collective, sides["webpack"].host_id)
        of_host = col(PaymentMethod.provider_account_id).is_not(None), col(PaymentMethod.host_id) == host.id
        method = (await session.execute(select(PaymentMethod).where(*of_host))).scalar_one()
        gift = RecurringGift(
            id=new_id(),
            from_id=sides["xdamman"].id,
            to_id=sides["webpack"].id,
            currency="USD",
            amount_minor=700,
            interval=GiftInterval.MONTH,
            anchor_day=today.day,
            timezone="UTC",
            payment_method_kind=PaymentMethodKind.PROVIDER,
            payment_method_id=method.id,
            description="Waits for its bank",
            status=GiftStatus.PENDING,
            starts_on=started,
            next_charge_on=started,
            created_by_id=sides["xdamman"].id,
        )
        session.add(gift)
        await session.flush()
        parties = Party(sides["xdamman"]), Party(sides["webpack"], host)
        order = build_gift_order(Actor(), Charge(gift, *parties, method, None))
        await insert_order(session, order, [creation_step(order)])
        name = fake.payment_of(order.id)
        assert method.provider_account_id is not None
        secret = f"{name}_secret_demo"
        session.add(
            ProviderPayment(
                order_id=order.id,
                provider_account_id=method.provider_account_id,
                external_id=name,
                client_secret=secret,
                status=ProviderPaymentStatus.OPEN,
            )
        )
        await session.flush()
        gift.next_charge_on = today
    return {"clientSecret": secret}


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
