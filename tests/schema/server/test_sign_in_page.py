"""The sign-in page in a real browser: passkeys of a virtual device, under the page's strict policy."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from playwright.async_api import BrowserContext, expect

from schema import graphiql
from schema.server import app
from services.database.engine import create_pool, session_factory
from tests.browser import WAIT_MS, Tab, browser, context, listen, serve_in_thread, skip_or_fail
from tests.conftest import MakeDatabase
from tests.factor_world import PASSWORD, age_confirmation, with_password
from tests.factories import Person, World

__all__ = ["browser", "context"]
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class SignInServer:
    """A running server, and a person with a password."""

    origin: str
    world: World
    ada: Person

    def age(self) -> None:
        """Let the person's sessions have been confirmed some time ago."""

        async def work() -> None:
            engine = create_pool(self.world.settings)
            self.world.sessions = session_factory(engine)
            await age_confirmation(self.world, self.ada)
            await engine.dispose()

        run_apart(work())


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run work beside the tests' event loop."""
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


@pytest.fixture
def sign_in_server(make_database: MakeDatabase) -> Iterator[SignInServer]:
    """Serve the application at the name localhost, for which browsers make passkeys."""
    if not (graphiql.DIST / "sign-in.html").is_file():
        skip_or_fail("the sign-in page is not built: python -m schema.graphiql.build")
    listening = listen()
    origin = f"http://localhost:{listening.getsockname()[1]}"
    settings = replace(make_database().settings, public_url=origin)
    made: list[SignInServer] = []

    async def create() -> None:
        engine = create_pool(settings)
        world = await World.create(settings, session_factory(engine))
        ada = await world.person("ada")
        await with_password(world, ada)
        made.append(SignInServer(origin, world, ada))
        await engine.dispose()

    run_apart(create())
    with serve_in_thread(app.create_application(settings), [listening]):
        yield made[0]


async def test_the_page_has_a_strict_policy_and_no_inline_script(sign_in_server: SignInServer) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{sign_in_server.origin}/sign-in")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert (
        answer.text.count("<script") == answer.text.count('<script type="module" src="graphiql/assets/') == 1
    )
    assert " style=" not in answer.text


async def test_a_passkey_is_added_confirms_and_signs_in(
    sign_in_server: SignInServer, context: BrowserContext
) -> None:
    tab = Tab.of(await context.new_page())
    page = tab.page
    devices = await context.new_cdp_session(page)
    await devices.send("WebAuthn.enable")
    device = await devices.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})

    await page.goto(f"{sign_in_server.origin}/sign-in")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_focused(timeout=WAIT_MS)
    await page.get_by_label("Email").fill(sign_in_server.ada.email)
    await page.get_by_label("Password", exact=True).fill("wrong horse")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    alert = page.get_by_role("alert")
    await expect(alert).to_have_text("The email address or password is wrong.", timeout=WAIT_MS)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.keyboard.press("Enter")
    account = page.get_by_role("region", name="Your account")
    await expect(account).to_contain_text("(ada)", timeout=WAIT_MS)

    await page.get_by_label("Name of a new passkey").fill("Laptop")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_role("list", name="Your passkeys")).to_contain_text("Laptop", timeout=WAIT_MS)
    await expect(page.locator("#codes li")).to_have_count(10)
    kept = await devices.send("WebAuthn.getCredentials", {"authenticatorId": device["authenticatorId"]})
    assert [credential["rpId"] for credential in kept["credentials"]] == ["localhost"]

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Sign in with a passkey").click()
    await expect(account).to_contain_text("(ada)", timeout=WAIT_MS)

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Email").fill(sign_in_server.ada.email)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Use a passkey").click(timeout=WAIT_MS)
    await expect(account).to_contain_text("(ada)", timeout=WAIT_MS)

    sign_in_server.age()
    await page.get_by_role("button", name="Remove the passkey Laptop").click()
    await page.get_by_role("button", name="Use a passkey").click(timeout=WAIT_MS)
    await expect(page.get_by_role("status")).to_have_text("The passkey is removed.", timeout=WAIT_MS)
    assert tab.complaints == []
    assert tab.hosts() == {sign_in_server.origin.removeprefix("http://")}
