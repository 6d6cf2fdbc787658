"""The page that takes a gift through Stripe, in a real browser. The script of js.stripe.com is a stand-in."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from tests.factories import Person, World
from tests.resolvers.test_stripe_events import event_of, intent_of
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
    giver: Person


@pytest.fixture
def stripe_page(make_database: MakeDatabase) -> Iterator[Page]:
    """Serve a host that takes cards through Stripe."""
    listening = listen()
    with run_stripe() as stripe:
        stripe.set_up(accounts={ACCOUNT: {"charges_enabled": True}})
        settings = stripe.settings(
            replace(make_database().settings, public_url=origin_of(listening), worker="inline")
        )
        made: list[Page] = []

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
            address = f"{settings.public_url}/donate/{scene.babel.slug}"
            made.append(Page(settings.public_url, address, stripe, scene.friend))
            await engine.dispose()

        thread = threading.Thread(target=asyncio.run, args=(create(),))
        thread.start()
        thread.join()
        with serve_in_thread(app.create_application(settings), [listening]):
            yield made[0]


@pytest.fixture
async def tab(context: BrowserContext) -> AsyncIterator[Tab]:
    """Return a tab that complains of nothing in the end."""
    watched = Tab.of(await context.new_page())
    yield watched
    assert watched.complaints == []


async def enter_guest(tab: Tab, address: str) -> None:
    """Open the page and fill in who gives."""
    await tab.page.goto(address)
    await tab.page.get_by_label("Your name").fill("Gale Guest", timeout=WAIT_MS)
    await tab.page.get_by_label("Your email address").fill("gale@commonweal.test")


async def load_script(tab: Tab, confirm: Callable[[str, str, str], Awaitable[dict[str, Any]]]) -> None:
    """Answer with the stand-in's script, which confirms payments by a function."""
    await tab.page.expose_function("payAtStripe", confirm)
    await tab.page.route(
        "https://js.stripe.com/v3/",
        lambda route: route.fulfill(content_type="text/javascript", body=SCRIPT),
    )


async def tell(at: Page, events: list[dict[str, Any]]) -> None:
    """Send the server what has happened at Stripe."""
    async with httpx.AsyncClient() as client:
        for event in events:
            body = encode(event)
            url = f"{at.origin}/webhooks/stripe"
            (await client.post(url, content=body, headers=dict(sign(body)))).raise_for_status()


async def test_a_guest_pays_in_stripes_form(stripe_page: Page, tab: Tab) -> None:
    page, stripe = tab.page, stripe_page.stripe
    refusals = [{"error": {"message": "Your card was declined."}}]

    async def pay(key: str, account: str, secret: str) -> dict[str, Any]:
        assert (key, account) == ("pk_test_commonweal", ACCOUNT)
        if refusals:
            return refusals.pop()
        stripe.pay(secret.partition("_secret_")[0], account=account)
        await tell(stripe_page, stripe.events(account=account))
        return {}

    await load_script(tab, pay)
    await enter_guest(tab, stripe_page.address)
    await expect(page.get_by_label("Test card number")).to_be_hidden()
    await page.get_by_role("button", name="Give").click()
    await expect(page.locator("#stripe-form")).to_have_text("Stripe's form", timeout=WAIT_MS)
    assert await find_violations(page) == []
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_role("alert")).to_have_text("Your card was declined.", timeout=WAIT_MS)
    await page.get_by_role("button", name="Pay").click()
    await expect(page.locator("#result")).to_contain_text("donation is complete", timeout=WAIT_MS)


async def test_who_cannot_load_stripes_form_may_pay_in_another_way(stripe_page: Page, tab: Tab) -> None:
    page = tab.page
    await page.route("https://js.stripe.com/v3/", lambda route: route.abort())
    await enter_guest(tab, stripe_page.address)
    give = page.get_by_role("button", name="Give")
    await give.click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot be loaded", timeout=WAIT_MS)
    await expect(give).to_be_enabled()
    await page.get_by_label("How to pay").select_option(label="Bank transfer")
    await give.click()
    await expect(page.locator("#reference")).to_contain_text("ord_", timeout=WAIT_MS)
    await expect(page.get_by_role("alert")).to_be_empty()
    assert [text for text in tab.complaints if "net::ERR_FAILED" in text] == tab.complaints
    tab.complaints.clear()


async def test_who_comes_back_from_a_refusal_may_give_anew(stripe_page: Page, tab: Tab) -> None:
    page = tab.page
    await page.goto(f"{stripe_page.address}?order=ord_x&payment_intent=pi_x&redirect_status=failed")
    await expect(page.get_by_role("alert")).to_have_text("The payment was refused.", timeout=WAIT_MS)
    await expect(page.get_by_role("button", name="Give")).to_be_visible()
    await expect(page.locator("#result")).to_be_empty()
    assert page.url == stripe_page.address


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({"canceled": "canceled"}, "has ended"),
        ({"processing": "processing", "payment_failed": "requires_payment_method"}, "was refused"),
    ],
)
async def test_who_waits_for_a_payment_that_ends_may_give_anew(
    ends: dict[str, str], told: str, stripe_page: Page, tab: Tab
) -> None:
    page = tab.page

    async def end(_key: str, account: str, secret: str) -> dict[str, Any]:
        payment = secret.partition("_secret_")[0]
        about = {kind: intent_of(payment, status) for kind, status in ends.items()}
        events = [event_of(account, f"payment_intent.{kind}", intent) for kind, intent in about.items()]
        await tell(stripe_page, events)
        return {}

    await load_script(tab, end)
    token = stripe_page.giver.token  # guests do not see orders that end without money
    await page.context.add_cookies(
        [{"name": "commonweal_session", "value": token, "url": stripe_page.origin}]
    )
    await page.goto(stripe_page.address)
    await page.get_by_role("button", name="Give").click(timeout=WAIT_MS)
    await page.get_by_role("button", name="Pay").click(timeout=WAIT_MS)
    await expect(page.get_by_role("alert")).to_contain_text(told, timeout=WAIT_MS)
    await expect(page.locator("#result")).to_be_empty()
    await expect(page.get_by_role("button", name="Give")).to_be_visible()
    await page.get_by_role("button", name="Give").click()
    await expect(page.get_by_role("button", name="Pay")).to_be_visible(timeout=WAIT_MS)


async def test_only_where_stripe_is_offered_may_the_page_load_it(stripe_page: Page, world: World) -> None:
    async with httpx.AsyncClient() as client:
        offered = await client.get(stripe_page.address)
    assert 'name="stripe-key" content="pk_test_commonweal"' in offered.text
    policy = dict(
        part.strip().split(" ", 1) for part in offered.headers["content-security-policy"].split(";")
    )
    scripts = "https://js.stripe.com https://*.js.stripe.com"
    assert policy["script-src"] == f"'self' {scripts}"
    assert policy["frame-src"] == f"{scripts} https://hooks.stripe.com"
    assert offered.headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    without = app.create_application(replace(world.settings, worker="none"))
    async with (
        without.router.lifespan_context(without),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=without), base_url="http://test") as client,
    ):
        plain = await client.get("/donate/babel")
    assert "stripe-key" not in plain.text
    assert "stripe" not in plain.headers["content-security-policy"]
    assert plain.headers["cross-origin-opener-policy"] == "same-origin"
