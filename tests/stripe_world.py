"""Gifts by card through a pretended Stripe: a host whose account is connected, and what Stripe tells."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from sqlalchemy import select
from sqlmodel import col

from models import Collective, Order, ProviderEvent, ProviderRefund, Transaction, new_id
from models.enums import OrderStatus, TransactionKind
from schema.server.app import create_application
from services.payments import processing, returned
from services.providers.offered import offered
from tests.donation_world import DonationScene, decode_order_id
from tests.factories import Person, World, money, ref
from tests.stripe_server import CARD, StripeServer, encode, sign

GIFT = "order { id status paymentMethodType } clientSecret redirectUrl providerAccount"
WEBHOOK = "/webhooks/stripe"


@dataclass
class StripeScene:
    """babel's host takes cards through Stripe; the giver is a user of the platform."""

    donations: DonationScene
    stripe: StripeServer
    client: httpx.AsyncClient
    giver: Person
    account: str = ""
    method: str = ""

    @property
    def world(self) -> World:
        """The world around."""
        return self.donations.world

    async def begin(self, host: Collective) -> dict[str, Any]:
        """Begin to connect a host; return the payload."""
        return await self.world.mutate(
            "connectHost",
            "status url paymentMethod { id }",
            by=self.donations.holder,
            host=ref(host),
            provider="STRIPE",
        )

    async def agree(
        self, url: str, *, account: str | None = None, code: str | None = None, **facts: Any
    ) -> httpx.Response:
        """Agree at Stripe with an account, a new one if none is given, and return to our page."""
        code, account = code or f"ac_{new_id().hex}", account or f"acct_{new_id().hex}"
        self.stripe.set_up(accounts={account: {"charges_enabled": True} | facts}, codes={code: account})
        state = parse_qs(urlsplit(url).query)["state"][0]
        return await self.client.get("/providers/stripe/connected", params={"state": state, "code": code})

    async def connect(self, host: Collective, **arguments: Any) -> tuple[str, str]:
        """Connect a host; return the id of its account at Stripe, and of its payment method."""
        payload = await self.begin(host)
        assert payload["errors"] == [], payload
        answer = await self.agree(payload["url"], **arguments)
        assert answer.status_code == 200, answer.text
        found = await self.world.query(
            "query($slug: String!) { collective(slug: $slug) { ... on Nonprofit {"
            " paymentMethods { id type provider } } } }",
            slug=host.slug,
        )
        methods = found["collective"]["paymentMethods"]
        (method,) = [row["id"] for row in methods if row["provider"] == "STRIPE"]
        account = await self.world.scalar(
            "SELECT external_id FROM provider_account WHERE host_id = :id AND status = 'ACTIVE'", id=host.id
        )
        return str(account), str(method)

    async def give(self, value: str = "100.00", *, fields: str = GIFT, **more: Any) -> dict[str, Any]:
        """Give to babel by card; return the payload."""
        arguments = {
            "from": ref(self.giver),
            "to": ref(self.donations.babel),
            "amount": money(value),
            "payWith": {"id": self.method},
        }
        return await self.world.mutate("donate", fields, by=self.giver, **(arguments | more))

    async def begun(self, value: str = "100.00", **more: Any) -> tuple[str, str]:
        """Give by card; return the ids of the order and of its payment at Stripe."""
        payload = await self.give(value, **more)
        assert payload["errors"] == [], payload
        assert payload["order"]["status"] == "PENDING"
        payment = payload["clientSecret"].partition("_secret_")[0]
        return str(payload["order"]["id"]), str(payment)

    async def paid(self, value: str = "100.00", *, number: str = CARD, **more: Any) -> tuple[str, str]:
        """Give by card and pay; return the ids once everything that Stripe tells is done."""
        order, payment = await self.begun(value, **more)
        self.stripe.pay(payment, account=self.account, number=number)
        await self.tell_all()
        return order, payment

    async def tell_all(self) -> str | None:
        """Let Stripe tell everything so far, and process it; return the last error that is kept."""
        for event in self.stripe.events(account=self.account):
            await self.receive(event)
        return await self.process_all()

    async def tell(self, event: Mapping[str, Any]) -> str | None:
        """Let Stripe tell something, and process it; return the error that is kept of it."""
        await self.receive(event)
        return await self.process_all()

    async def receive(self, event: Mapping[str, Any]) -> None:
        """Let Stripe tell something."""
        body = encode(event)
        answer = await self.client.post(WEBHOOK, content=body, headers=dict(sign(body)))
        assert answer.status_code == 200, answer.text

    async def process_all(self) -> str | None:
        """Process what waits, as the worker's jobs do; return the last error that is kept."""
        async with self.world.sessions() as session:
            waiting = select(col(ProviderEvent.id)).where(col(ProviderEvent.processed_at).is_(None))
            ids = list((await session.execute(waiting.order_by(col(ProviderEvent.id)))).scalars())
        error = None
        for event_id in ids:
            await processing.process(self.world.sessions, offered(self.world.settings), event_id=event_id)
            async with self.world.sessions() as session:
                error = (await session.get_one(ProviderEvent, event_id)).error
        return error

    async def send_refunds(self) -> None:
        """Send the refunds that wait, as the worker's jobs do."""
        async with self.world.sessions() as session:
            waiting = select(col(ProviderRefund.id)).where(col(ProviderRefund.status) == "REQUESTED")
            ids = list((await session.execute(waiting)).scalars())
        for refund_id in ids:
            await returned.send(self.world.sessions, offered(self.world.settings), refund_id=refund_id)

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

    async def posted(self, order: str) -> list[int]:
        """Return what was given for an order and given back, without what covers the fees."""
        rows = await self.transactions(order)
        return [row.amount for row in rows if row.kind != TransactionKind.PAYMENT_PROCESSOR_COVER]


@asynccontextmanager
async def stripe_scene(world: World, stripe: StripeServer) -> AsyncIterator[StripeScene]:
    """Make a scene whose host is connected, with fees of 5 % for it and for the platform."""
    stripe.set_up(status=0, off_session="")
    world.settings = stripe.settings(world.settings)
    await world.platform_fee(500)
    donations = await DonationScene.create(world)
    donations.host = await donations.host_of("cards", fee_bps=500)
    donations.babel = await donations.community("paidbycard", donations.host, donations.friend)
    app = create_application(replace(world.settings, worker="none"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client,
    ):
        scene = StripeScene(donations, stripe, client, await world.person("cardholder"))
        await world.fund(donations.host, "100.00", by=donations.holder)
        scene.account, scene.method = await scene.connect(donations.host)
        yield scene
