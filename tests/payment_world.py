"""Card gifts with the pretended provider: a host that takes cards, and what the provider tells."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models import Order, ProviderAccount, ProviderEvent, ProviderRefund, Transaction
from models.enums import OrderStatus, ProviderName
from services.operation import diagnosis
from services.operation.findings import Finding
from services.payments import intake, processing, returned
from services.providers import fake
from services.providers.fake import SUCCEEDS, SignedEvent
from services.providers.offered import offered
from services.providers.protocol import EventKind
from tests.donation_world import DonationScene, decode_order_id
from tests.factories import Person, World, money, ref

GIFT = "order { id status paymentMethodType } clientSecret redirectUrl providerAccount"
REFUND = "order { id status } transactions { kind }"


@dataclass
class CardScene:
    """babel's host takes pretended cards; the giver is a user of the platform."""

    donations: DonationScene
    method: str
    account: str
    giver: Person

    @property
    def world(self) -> World:
        """The world around."""
        return self.donations.world

    @classmethod
    async def create(cls, world: World, *, suffix: str = "", fee_bps: int = 500) -> "CardScene":
        """Create a scene whose host takes a fee, connect the host, and make a giver."""
        await world.platform_fee(500)
        donations = await DonationScene.create(world, suffix=suffix)
        donations.host = await donations.host_of("cards", fee_bps=fee_bps)
        donations.babel = await donations.community("paidbycard", donations.host, donations.friend)
        method = await connect(world, donations.host, donations.holder)
        async with world.sessions() as session:
            found = select(col(ProviderAccount.external_id)).where(
                col(ProviderAccount.host_id) == donations.host.id
            )
            account = (await session.execute(found)).scalar_one()
        assert account is not None
        return cls(donations, method, account, await world.person("cardholder" + suffix))

    async def give(self, value: str = "100.00", *, fields: str = GIFT, **more: Any) -> dict[str, Any]:
        """Give to babel by card; return the payload."""
        arguments = {
            "from": ref(self.giver),
            "to": ref(self.donations.babel),
            "amount": money(value),
            "payWith": {"id": self.method},
        }
        return await self.world.mutate("donate", fields, **({"by": self.giver} | arguments | more))

    async def paid(self, value: str = "100.00", *, number: str = SUCCEEDS) -> str:
        """Give by card and pay with a number; return the order's id once all events are processed."""
        order = order_of(await self.give(value))
        for event in fake.events_of_card(
            number, account=self.account, payment=payment_of(order), order_id=decode_order_id(order)
        ):
            await self.tell(event)
        return order

    async def tell(self, event: SignedEvent) -> str | None:
        """Let the provider tell something, process it, and return the error that is kept of it."""
        await self.receive(event)
        return await self.process_all()

    async def receive(self, event: SignedEvent) -> bool:
        """Let the provider tell something; False if it was told before."""
        provider = offered(self.world.settings)[ProviderName.FAKE]
        async with self.world.sessions.begin() as session:
            return await intake.receive(session, provider, headers=event.headers, body=event.body)

    async def process_all(self) -> str | None:
        """Process what waits, as the worker's jobs do; return the last error that is kept."""
        async with self.world.sessions() as session:
            waiting = select(col(ProviderEvent.id)).where(col(ProviderEvent.processed_at).is_(None))
            ids = list((await session.execute(waiting.order_by(col(ProviderEvent.id)))).scalars())
        error = None
        for event_id in ids:
            await self.process(event_id)
            async with self.world.sessions() as session:
                error = (await session.get_one(ProviderEvent, event_id)).error
        return error

    async def process(self, event_id: UUID) -> None:
        """Process one event."""
        await processing.process(self.world.sessions, offered(self.world.settings), event_id=event_id)

    async def send_refunds(self) -> None:
        """Send the refunds that wait, as the worker's jobs do."""
        async with self.world.sessions() as session:
            waiting = select(col(ProviderRefund.id)).where(col(ProviderRefund.status) == "REQUESTED")
            ids = list((await session.execute(waiting)).scalars())
        for refund_id in ids:
            await returned.send(self.world.sessions, offered(self.world.settings), refund_id=refund_id)

    def event(self, kind: EventKind, order: str, **more: Any) -> SignedEvent:
        """Build what the provider tells of an order's payment."""
        return fake.build_event(kind, account=self.account, payment=payment_of(order), **more)

    async def status(self, order: str) -> OrderStatus:
        """Return the status of an order."""
        async with self.world.sessions() as session:
            return OrderStatus((await session.get_one(Order, decode_order_id(order))).status)

    async def transactions(self, order: str) -> list[Transaction]:
        """Return the transactions of an order, in their order."""
        statement = (
            select(Transaction)
            .where(col(Transaction.order_id) == decode_order_id(order))
            .order_by(col(Transaction.at), col(Transaction.id))
        )
        async with self.world.sessions() as session:
            return list((await session.execute(statement)).scalars())


async def connect(world: World, host: Any, by: Person) -> str:
    """Connect a host to the pretended provider; return the id of its payment method."""
    payload = await world.mutate(
        "connectHost", "status url paymentMethod { id provider }", by=by, host=ref(host), provider="FAKE"
    )
    assert payload["errors"] == [], payload
    assert (payload["status"], payload["url"]) == ("ACTIVE", None)
    return str(payload["paymentMethod"]["id"])


def order_of(payload: dict[str, Any]) -> str:
    """Require a payload of a gift that waits for the provider; return its order's id."""
    assert payload["errors"] == [], payload
    assert payload["order"]["status"] == "PENDING"
    assert payload["clientSecret"] is not None
    return str(payload["order"]["id"])


def payment_of(order: str) -> str:
    """Return the provider's id of an order's payment."""
    return fake.payment_of(decode_order_id(order))


async def refund(scene: CardScene, order: str, value: str | None = None) -> None:
    """Ask for a refund as the host's ADMIN."""
    more = {"amount": money(value)} if value else {}
    payload = await scene.world.mutate("refundOrder", REFUND, by=scene.donations.holder, id=order, **more)
    assert payload["errors"] == [], payload
    assert payload["transactions"] == []  # the provider has not confirmed it


async def kinds(scene: CardScene, order: str) -> list[str]:
    """Return the kinds of an order's transactions."""
    return [row.kind for row in await scene.transactions(order)]


def dispute(scene: CardScene, order: str, kind: EventKind) -> fake.SignedEvent:
    """Build what the provider tells of a dispute, whose fee is 15.00."""
    return scene.event(kind, order, dispute="dp_1", dispute_fee=1500)


async def spend(scene: CardScene, value: str) -> None:
    """Spend of what babel has."""
    payload = await scene.world.mutate(
        "donate",
        "order { status }",
        by=scene.donations.friend,
        amount=money(value),
        **{"from": ref(scene.donations.babel), "to": ref(scene.donations.host)},
    )
    assert payload["errors"] == [], payload


async def findings_of_refunds(scene: CardScene) -> list[Finding]:
    """Return what the doctor finds of disputes and refunds."""
    found = await asyncio.to_thread(diagnosis.diagnose, scene.world.settings, is_embedded=False)
    return [finding for finding in found if finding.name in {"disputes", "refunds"}]
