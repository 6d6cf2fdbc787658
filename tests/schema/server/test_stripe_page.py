"""The page that takes a gift through Stripe, in a real browser. The script of js.stripe.com is a stand-in."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from playwright.async_api import BrowserContext, expect

from models import ProviderAccount
from models.enums import ProviderAccountStatus, ProviderName
from schema.server import app
from services.database.engine import create_pool, session_factory
from services.payments import accounts
from tests.axe import find_violations
from tests.browser import WAIT_MS, Tab, browser, context, listen, origin_of, serve_in_thread
from tests.conftest import MakeDatabase
from tests.donation_world import DonationScene
from tests.factories import World
from tests.stripe_server import StripeServer, encode, run_stripe, sign

__all__ = ["browser", "context"]
ACCOUNT = "acct_of_the_page"
SCRIPT = """window.Stripe = (key, { stripeAccount }) => ({
  elements: (options) => ({ ...options, create: () => ({
    mount: (where) => { document.querySelector(where).textContent = "Stripe's form"; } }) }),
  confirmPayment: ({ elements }) => window.payAtStripe(key, stripeAccount, elements.clientSecret),
});"""


@dataclass
class Page:
    """A running server that runs jobs, the pretended Stripe, and the address of a page."""

    origin: str
    address: str
    stripe: StripeServer


@pytest.fixture
def stripe_page(make_database: MakeDatabase) -> Iterator[Page]:
    """Serve a host that takes cards through Stripe."""
    listening = listen()
    with run_stripe() as stripe:
        stripe.set_up(accounts={ACCOUNT: {"charges_enabled": True}})
        settings = stripe.settings(
            replace(make_database().settings, public_url=origin_of(listening), worker="inline")
        )
        slugs: list[str] = []

        async def create() -> None:
            engine = create_pool(settings)
            world = await World.create(settings, session_factory(engine))
            scene = await DonationScene.create(world)
            async with world.sessions.begin() as session:
                account = ProviderAccount(
                    host_id=scene.host.id,
                    provider=ProviderName.STRIPE,
                    external_id=ACCOUNT,
                    status=ProviderAccountStatus.PENDING,
                    livemode=False,
                    created_by_id=scene.holder.user.id,
                )
                session.add(account)
                await session.flush()
                await accounts.enable(session, account)
            slugs.append(scene.babel.slug)
            await engine.dispose()

        thread = threading.Thread(target=asyncio.run, args=(create(),))
        thread.start()
        thread.join()
        with serve_in_thread(app.create_application(settings), [listening]):
            yield Page(settings.public_url, f"{settings.public_url}/donate/{slugs[0]}", stripe)


@pytest.fixture
async def tab(context: BrowserContext) -> AsyncIterator[Tab]:
    """Return a tab that complains of nothing in the end."""
    watched = Tab.of(await context.new_page())
    yield watched
    assert watched.complaints == []


async def test_a_guest_pays_in_stripes_form(stripe_page: Page, tab: Tab) -> None:
    page, stripe = tab.page, stripe_page.stripe
    refusals = [{"error": {"message": "Your card was declined."}}]

    async def pay(key: str, account: str, secret: str) -> dict[str, Any]:
        assert (key, account) == ("pk_test_commonweal", ACCOUNT)
        if refusals:
            return refusals.pop()
        stripe.pay(secret.partition("_secret_")[0], account=account)
        async with httpx.AsyncClient() as client:
            for event in stripe.events(account=account):
                body = encode(event)
                url = f"{stripe_page.origin}/webhooks/stripe"
                (await client.post(url, content=body, headers=dict(sign(body)))).raise_for_status()
        return {}

    await page.expose_function("payAtStripe", pay)
    await page.route(
        "https://js.stripe.com/v3/",
        lambda route: route.fulfill(content_type="text/javascript", body=SCRIPT),
    )
    await page.goto(stripe_page.address)
    await page.get_by_label("Your name").fill("Gale Guest", timeout=WAIT_MS)
    await page.get_by_label("Your email address").fill("gale@commonweal.test")
    await expect(page.get_by_label("Test card number")).to_be_hidden()
    await page.get_by_role("button", name="Give").click()
    await expect(page.locator("#stripe-form")).to_have_text("Stripe's form", timeout=WAIT_MS)
    assert await find_violations(page) == []
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_role("alert")).to_have_text("Your card was declined.", timeout=WAIT_MS)
    await page.get_by_role("button", name="Pay").click()
    await expect(page.locator("#result")).to_contain_text("donation is complete", timeout=WAIT_MS)


async def test_only_where_stripe_is_offered_may_the_page_load_it(stripe_page: Page, world: World) -> None:
    async with httpx.AsyncClient() as client:
        offered = await client.get(stripe_page.address)
    assert 'name="stripe-key" content="pk_test_commonweal"' in offered.text
    assert "https://js.stripe.com" in offered.headers["content-security-policy"]
    without = app.create_application(replace(world.settings, worker="none"))
    async with (
        without.router.lifespan_context(without),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=without), base_url="http://test") as client,
    ):
        plain = await client.get("/donate/babel")
    assert "stripe-key" not in plain.text
    assert "stripe" not in plain.headers["content-security-policy"]
