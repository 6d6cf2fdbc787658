"""A real browser for tests, and servers on loopback for it."""

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


def listen() -> socket.socket:
    """Listen on a free port of loopback."""
    return socket.create_server(("127.0.0.1", 0))


def origin_of(listening: socket.socket) -> str:
    """Return the origin of a server on this socket."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def serve_in_thread(app: ASGIApp, listeners: Sequence[socket.socket]) -> Iterator[None]:
    """Serve an application in a separate thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": list(listeners)}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 180
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
    """A page of the browser, with its requests and console messages."""

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
        """Record a request of the page."""
        self.requested.append(request.url)

    def note_console(self, message: ConsoleMessage) -> None:
        """Record a warning or an error on the console."""
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def note_error(self, error: object) -> None:
        """Record an uncaught exception."""
        self.complaints.append(f"uncaught: {error}")

    def hosts(self) -> set[str]:
        """Return the hosts of all requests; `data:` and `blob:` URLs have none."""
        return {host for url in self.requested if (host := urlsplit(url).netloc)}

    async def write(self, editor: str, text: str) -> None:
        """Replace an editor's content by keyboard."""
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
        """Wait until a tab of GraphiQL has the name of an operation."""
        names = self.page.get_by_role("tablist").get_by_role("button", name=name, exact=True)
        await expect(names).to_be_visible(timeout=WAIT_MS)

    async def run(self) -> None:
        """Press the button that runs the query."""
        await self.page.get_by_role("button", name="Execute query").click()

    async def expect_answer(self, pattern: str) -> None:
        """Wait until the displayed response matches; the editor displays spaces as non-breaking ones."""
        answer = self.page.locator(".result-window .view-lines")
        await expect(answer).to_contain_text(re.compile(pattern), timeout=WAIT_MS)


def skip_or_fail(what: str) -> NoReturn:
    """Skip the test because a tool is missing; fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"SKIPPED LOUDLY: {what}")


def find_chromium() -> str:
    """Find Chromium by the environment variable CHROMIUM or on the PATH."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        if result := shutil.which(name):
            return result
    skip_or_fail("no Chromium on the PATH; Debian's package is `chromium`")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = find_chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield running
        await running.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a new browser context without stored tabs and cookies."""
    fresh = await browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US")
    await fresh.add_init_script(REPORT_VIOLATIONS)
    yield fresh
    await fresh.close()
