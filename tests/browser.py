"""A real browser for tests, and servers on loopback for it to ask."""

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
    expect,
)
from starlette.types import ASGIApp

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000

# Reports what the browser blocks, also what it would only note in its developer tools.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`blocked: ${event.violatedDirective} ${event.blockedURI}`));
"""


def listener() -> socket.socket:
    """Listen on a free port of loopback."""
    return socket.create_server(("127.0.0.1", 0))


def origin_of(listening: socket.socket) -> str:
    """Return the origin of what is served there."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def served(app: ASGIApp, listeners: Sequence[socket.socket]) -> Iterator[None]:
    """Serve an application, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": list(listeners)}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server ended while starting"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    yield
    server.should_exit = True
    thread.join(timeout=30)
    for listening in listeners:
        listening.close()


@dataclass
class Tab:
    """A page of the browser, and what it asked for and complained of."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> "Tab":
        """Watch a page."""
        tab = cls(page)
        page.on("request", tab.note_request)
        page.on("console", tab.note_console)
        page.on("pageerror", tab.note_error)
        return tab

    def note_request(self, request: Request) -> None:
        """Record what the page asks for."""
        self.requested.append(request.url)

    def note_console(self, message: ConsoleMessage) -> None:
        """Record what the browser holds against the page."""
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def note_error(self, error: object) -> None:
        """Record an exception that nothing caught."""
        self.complaints.append(f"uncaught: {error}")

    def hosts(self) -> set[str]:
        """Tell which hosts were asked; `data:` and `blob:` addresses ask none."""
        return {host for url in self.requested if (host := urlsplit(url).netloc)}

    async def write(self, editor: str, text: str) -> None:
        """Put a text in place of an editor's content, by keyboard."""
        await self.page.locator(f"{editor} .monaco-editor .view-lines").first.click()
        await self.page.keyboard.press("ControlOrMeta+A")
        await self.page.keyboard.press("Delete")
        # Inserted at once: key by key, the editor would close each bracket by itself.
        await self.page.keyboard.insert_text(text)

    async def query(self, name: str, fields: str) -> None:
        """Put a query in the editor and run it once GraphiQL has read its name."""
        await self.write(".graphiql-query-editor", f"query {name} {fields}")
        await self.expect_name(name)
        await self.run()

    async def expect_name(self, name: str) -> None:
        """Wait until one of GraphiQL's tabs bears the name of an operation."""
        names = self.page.get_by_role("tablist").get_by_role("button", name=name, exact=True)
        await expect(names).to_be_visible(timeout=WAIT_MS)

    async def run(self) -> None:
        """Press the button that runs the query."""
        await self.page.get_by_role("button", name="Execute query").click()

    async def expect_answer(self, pattern: str) -> None:
        """Wait until the answer shown matches; the editor shows spaces as unbreakable ones."""
        answer = self.page.locator(".result-window .view-lines")
        await expect(answer).to_contain_text(re.compile(pattern), timeout=WAIT_MS)


def missing(what: str) -> NoReturn:
    """Skip where a tool is missing, but never in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"SKIPPED LOUDLY: {what}")


def chromium() -> str:
    """Find the browser: the environment variable CHROMIUM, else the PATH."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    missing("no Chromium on the PATH; Debian's package is `chromium`")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield running
        await running.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Give each test a fresh browser: no stored tabs, no cookies."""
    fresh = await browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US")
    await fresh.add_init_script(REPORT_VIOLATIONS)
    yield fresh
    await fresh.close()
