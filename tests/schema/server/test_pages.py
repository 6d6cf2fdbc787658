"""Pages for people without a site: their languages, their look, their ways on, and axe's word on them."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from playwright.async_api import BrowserContext, expect

from models.enums import Locale
from schema import graphiql
from schema.server import app
from services.core.languages import TAGS, translate
from tests.axe import find_violations
from tests.browser import WAIT_MS, Tab, browser, context, listen, origin_of, serve_in_thread
from tests.conftest import MakeDatabase
from tests.factories import World
from tests.schema.http.test_endpoint_requests import serving

__all__ = ["browser", "context"]
TITLES = {
    "/verify?token=t": "Confirm your address",
    "/reset?token=t": "Choose a new password",
    "/confirm-email?token=t": "Confirm the new address",
    "/undo-email?token=t": "Take your account back",
    "/stop?token=t": "Stop these mails",
    "/sign-in/oidc/none/callback?continue=1": "Sign in",
}


@pytest.fixture(scope="module")
def pages_server(make_database: MakeDatabase) -> Iterator[str]:
    listening = listen()
    with serve_in_thread(app.create_application(make_database().settings), [listening]):
        yield origin_of(listening)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_with_any_page(
    pages_server: str, context: BrowserContext, scheme: str
) -> None:
    tab = Tab.of(await context.new_page())
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    addresses = [*TITLES, *(["/sign-in"] if (graphiql.DIST / "sign-in.html").is_file() else [])]
    for address in addresses:
        await tab.page.goto(f"{pages_server}{address}")
        await expect(tab.page.get_by_role("heading", level=1)).to_be_visible(timeout=WAIT_MS)
        if address == "/sign-in":
            await expect(tab.page.get_by_label("Email")).to_be_visible(timeout=WAIT_MS)
            await expect(tab.page.locator("main")).to_have_attribute("aria-busy", "false", timeout=WAIT_MS)
        assert await find_violations(tab.page) == [], address
        # The style sheet has come through the policy.
        assert await tab.page.evaluate("getComputedStyle(document.body).maxWidth") == "416px", address
    for address in list(TITLES)[:-1]:
        await tab.page.goto(f"{pages_server}{address}")
        if await tab.page.get_by_label("New password").count():
            await tab.page.get_by_label("New password").fill("a long sentence of mine")
        await tab.page.get_by_role("button").click()
        await expect(tab.page.get_by_role("alert")).to_be_visible(timeout=WAIT_MS)
        assert await find_violations(tab.page) == [], address
    blocked = [line for line in tab.complaints if "blocked" in line]
    assert blocked == []


@pytest.mark.parametrize("locale", list(Locale))
async def test_pages_speak_the_language_of_the_browser(world: World, locale: Locale) -> None:
    headers = {"Accept-Language": f"xx, {TAGS[locale]}-XX;q=0.9"}
    async with serving(world.settings) as client:
        for address, title in TITLES.items():
            answer = await client.get(address, headers=headers)
            assert f'<html lang="{TAGS[locale]}">' in answer.text
            assert f"<h1>{translate(title, locale)}</h1>" in answer.text
            assert "Accept-Language" in answer.headers["vary"]
        refused = await client.post("/reset?token=t", data={"password": "a long sentence"}, headers=headers)
        assert translate("This link is no longer valid. Request a new one.", locale) in refused.text
        short = await client.post("/reset?token=t", data={"password": "x"}, headers=headers)
        assert translate("Enter a password of 8 to 200 characters.", locale) in short.text
        assert short.status_code == refused.status_code == 400


async def test_the_sign_in_page_speaks_the_language_of_the_browser(world: World) -> None:
    if not (graphiql.DIST / "sign-in.html").is_file():
        pytest.skip("the sign-in page is not built")
    async with serving(world.settings) as client:
        german = await client.get("/sign-in", headers={"Accept-Language": "de"})
        english = await client.get("/sign-in")
    assert '<html lang="de"' in german.text
    assert "Mit einem Passkey anmelden" in german.text
    assert "Der Passkey ist entfernt." in german.text  # for the script
    assert "Sign in with a passkey" in english.text
    assert "[[" not in german.text + english.text


async def test_pages_lead_on_to_the_site_or_to_the_sign_in(world: World) -> None:
    async def stopped(site: str) -> str:
        async with serving(replace(world.settings, site_url=site)) as client:
            return (await client.post("/stop?token=none")).text

    assert '<a class="button" href="/sign-in">Go to the sign-in</a>' in await stopped("")
    text = await stopped("https://www.example.org/?a=1&b=2")
    assert '<a class="button" href="https://www.example.org/?a=1&amp;b=2">Continue to the site</a>' in text


async def test_the_style_sheet_is_served_for_an_hour(world: World) -> None:
    async with serving(world.settings) as client:
        answer: httpx.Response = await client.get("/pages.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.headers["cache-control"] == "max-age=3600"
