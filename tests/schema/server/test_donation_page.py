"""The page that takes a gift, in a real browser: a pretended card, a bank transfer, a refusal."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from schema.server import app
from services.core import public_ids
from services.database.engine import create_pool, session_factory
from services.providers import fake
from tests.axe import find_violations
from tests.browser import WAIT_MS, Tab, browser, context, listen, origin_of, serve_in_thread
from tests.card_gift_world import charge_and_hear, due
from tests.conftest import MakeDatabase
from tests.factories import Person, World, ref
from tests.payment_world import CardScene, connect

__all__ = ["browser", "context"]
IBAN = "DE89370400440532013000"


@dataclass
class GivingServer:
    """A running server that runs jobs, with a collective that takes dollars, and one that takes euros."""

    origin: str
    dollars: str
    euros: str
    giver: Person
    due: str
    """The order of a recurring gift that the giver's bank wants confirmed."""


@pytest.fixture
def server_of_gifts(make_database: MakeDatabase) -> Iterator[GivingServer]:
    """Serve a host that takes pretended cards and names a bank account."""
    listening = listen()
    settings = replace(make_database().settings, public_url=origin_of(listening), worker="inline")
    made: list[GivingServer] = []

    async def create() -> None:
        engine = create_pool(settings)
        scene = await CardScene.create(await World.create(settings, session_factory(engine)))
        holder, donations = scene.donations.holder, scene.donations
        european = await donations.host_of("european", currency="EUR")
        euros = await donations.community("euros", european, donations.friend, currency="EUR")
        await connect(scene.world, european, holder)
        payload = await scene.world.mutate(
            "createPaymentMethod",
            by=holder,
            host=ref(european),
            name="Transfer",
            type="MANUAL",
            iban=IBAN,
            accountHolder="European Foundation",
        )
        assert payload["errors"] == []
        await due(scene, fake.STEP_LATER)
        await charge_and_hear(scene)
        waits = await scene.world.scalar("SELECT id FROM \"order\" WHERE status = 'FAILED'")
        order = public_ids.encode("Order", waits)
        made.append(GivingServer(settings.public_url, donations.babel.slug, euros.slug, scene.giver, order))
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


async def open_page(page: Page, server: GivingServer, slug: str) -> None:
    """Open the page of a collective and fill in who gives."""
    await page.goto(f"{server.origin}/donate/{slug}")
    await expect(page.get_by_label("Your name")).to_be_visible(timeout=WAIT_MS)
    await page.get_by_label("Your name").fill("Gale Guest")
    await page.get_by_label("Your email address").fill("gale@commonweal.test")


async def give_by_card(page: Page, number: str) -> None:
    """Enter a card and give."""
    await page.get_by_label("Test card number").fill(number)
    await page.get_by_role("button", name="Give").click()


async def test_a_guest_gives_by_card_and_by_transfer(server_of_gifts: GivingServer, tab: Tab) -> None:
    page = tab.page
    await open_page(page, server_of_gifts, server_of_gifts.dollars)
    await page.get_by_label("Amount").fill("100.00")
    await expect(page.locator("#quote")).to_contain_text("86.80 USD arrive", timeout=WAIT_MS)
    await expect(page.get_by_label("Tip for the platform")).to_have_value("")  # nothing is preselected
    await page.get_by_label("Tip for the platform").fill("5.00")
    await expect(page.locator("#quote")).to_contain_text("You pay 105.00 USD with the tip.", timeout=WAIT_MS)
    assert await find_violations(page) == []

    await give_by_card(page, fake.DECLINED)
    await expect(page.get_by_role("alert")).to_contain_text("declined", timeout=WAIT_MS)
    await give_by_card(page, fake.NEEDS_STEP)
    await page.get_by_role("button", name="Confirm").click(timeout=WAIT_MS)
    await expect(page.locator("#result")).to_contain_text("donation is complete", timeout=WAIT_MS)

    await open_page(page, server_of_gifts, server_of_gifts.euros)
    await page.get_by_label("How to pay").select_option(label="Bank transfer")
    await page.get_by_label("Tip for the platform").fill("2.50")
    await page.get_by_label("Don't show my name").check()
    async with page.expect_request(lambda sent: '"isIncognito":true' in (sent.post_data or "")):
        await page.get_by_role("button", name="Give").click()
    await expect(page.locator("#iban")).to_have_text(IBAN, timeout=WAIT_MS)
    await expect(page.locator("#due")).to_have_text("12.50 EUR")
    await expect(page.locator("#holder")).to_have_text("European Foundation")
    await expect(page.locator("#reference")).to_contain_text("ord_")
    await expect(page.locator("#code")).to_be_visible()
    assert await find_violations(page) == []
    assert {url.split("/")[2] for url in tab.requested if url.startswith("http")} == {
        server_of_gifts.origin.removeprefix("http://")
    }


async def test_who_is_signed_in_gives_every_month_in_german(
    server_of_gifts: GivingServer, browser: Browser
) -> None:
    german = await browser.new_context(locale="de-DE")
    origin, token = server_of_gifts.origin, server_of_gifts.giver.token
    await german.add_cookies([{"name": "commonweal_session", "value": token, "url": origin}])
    tab = Tab.of(await german.new_page())
    page = tab.page
    await page.goto(f"{origin}/donate/{server_of_gifts.euros}")
    await expect(page.get_by_text("Sie spenden als")).to_be_visible(timeout=WAIT_MS)
    await page.get_by_label("Betrag").fill("1000,50")
    await expect(page.locator("#quote")).to_contain_text("921,16 EUR kommen an", timeout=WAIT_MS)
    await page.get_by_label("Wie oft").select_option(label="Jeden Monat")
    await page.get_by_label("Zahlungsweise").select_option(value="MANUAL")
    await expect(page.locator("#quote")).to_contain_text("950,47 EUR kommen an", timeout=WAIT_MS)
    await page.get_by_label("Trinkgeld für die Plattform").fill("1000,51")
    await expect(page.locator("#quote")).to_have_text(
        "Das Trinkgeld ist höchstens so groß wie die Spende. Geben Sie ein kleineres ein.", timeout=WAIT_MS
    )
    await page.get_by_label("Trinkgeld für die Plattform").fill("10")
    await expect(page.locator("#quote")).to_contain_text("zahlen Sie 1.010,50 EUR", timeout=WAIT_MS)
    await expect(page.get_by_label("Meinen Namen nicht zeigen")).not_to_be_checked()
    await page.get_by_label("Meinen Namen nicht zeigen").check()
    assert await find_violations(page) == []
    async with page.expect_request(lambda sent: '"isIncognito":true' in (sent.post_data or "")):
        await page.get_by_role("button", name="Spenden").click()
    await expect(page.locator("#result")).to_contain_text("jede weitere Überweisung", timeout=WAIT_MS)
    await expect(page.locator("#iban")).to_have_text(IBAN)
    assert tab.complaints == []
    await german.close()


async def test_a_card_gives_every_month_and_pays_what_was_refused(
    server_of_gifts: GivingServer, context: BrowserContext, tab: Tab
) -> None:
    page, origin = tab.page, server_of_gifts.origin
    address = f"{origin}/donate/{server_of_gifts.dollars}"
    await page.goto(f"{address}?order={server_of_gifts.due}")
    await expect(page.get_by_role("alert")).to_contain_text("Sign in as the giver", timeout=WAIT_MS)
    token = server_of_gifts.giver.token
    await context.add_cookies([{"name": "commonweal_session", "value": token, "url": origin}])
    await page.goto(f"{address}?order={server_of_gifts.due}")
    await expect(page.locator("#result")).to_contain_text("10.00 USD waits for you", timeout=WAIT_MS)
    await expect(page.get_by_label("Amount")).to_be_hidden()
    assert await find_violations(page) == []
    await give_by_card(page, fake.DECLINED)
    await expect(page.get_by_role("alert")).to_contain_text("declined", timeout=WAIT_MS)
    await give_by_card(page, fake.SUCCEEDS)
    await expect(page.locator("#result")).to_contain_text("donation is complete", timeout=WAIT_MS)

    await page.goto(address)
    await page.get_by_label("How often").select_option(label="Every month")
    await give_by_card(page, fake.SUCCEEDS)
    await expect(page.locator("#result")).to_contain_text("donation is complete", timeout=WAIT_MS)


async def test_a_collective_that_is_not_there(server_of_gifts: GivingServer, tab: Tab) -> None:
    await tab.page.goto(f"{server_of_gifts.origin}/donate/nobody")
    alert = tab.page.get_by_role("alert")
    await expect(alert).to_have_text("There is no such collective.", timeout=WAIT_MS)
    assert await find_violations(tab.page) == []
