"""GraphiQL in a real browser: offline, under its security policy, with the API behind it."""

import asyncio
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import httpx
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
from starlette.applications import Starlette
from starlette.types import ASGIApp

from schema import app, demo, graphiql
from schema.graphiql import build
from services import platform
from services.database import connect, sessions
from tests.conftest import MakeDatabase

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EMAIL, PASSWORD = "xdamman@commonweal.test", "oc"
WAIT_MS = 30_000

# Reports what the browser blocks, also what it would only note in its developer tools.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`blocked: ${event.violatedDirective} ${event.blockedURI}`));
"""


# --- the server ---


def application(make_database: MakeDatabase) -> ASGIApp:
    """Make the application, on a demo world of its own."""
    settings = make_database().settings

    async def load() -> None:
        engine = connect(settings)
        made = sessions(engine)
        async with made() as session, session.begin():
            await platform.ensure(session)
        await demo.load(made, settings)
        await engine.dispose()

    # Beside the tests' event loop, for the server has a loop of its own.
    thread = threading.Thread(target=asyncio.run, args=(load(),))
    thread.start()
    thread.join()
    return app.application(settings)


@pytest.fixture(scope="session")
def graphiql_server(make_database: MakeDatabase) -> Iterator[str]:
    """Serve the application on a free port of loopback; yields its origin."""
    if not (graphiql.DIST / "index.html").is_file():
        missing("GraphiQL is not built: python -m schema.graphiql.build")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(make_database), ws="none", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server ended while starting"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)
    listener.close()


# --- the browser ---


@dataclass
class Tab:
    """A page of the browser, and what it asked for and complained of."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

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


@pytest.fixture
async def tab(graphiql_server: str, context: BrowserContext) -> Tab:
    """Open GraphiQL and wait until it knows the schema."""
    opened = Tab(await context.new_page())
    opened.page.on("request", opened.note_request)
    opened.page.on("console", opened.note_console)
    opened.page.on("pageerror", opened.note_error)
    # The schema is asked for by POST, as soon as the page is up.
    async with opened.page.expect_response(
        lambda response: response.request.method == "POST", timeout=WAIT_MS
    ):
        await opened.page.goto(f"{graphiql_server}/graphql")
    editor = opened.page.locator(".graphiql-query-editor .view-lines")
    await expect(editor).to_contain_text("Me", timeout=WAIT_MS)
    return opened


# --- in the browser ---


async def test_page_loads_from_its_own_host_without_complaint(tab: Tab, graphiql_server: str) -> None:
    for name in ("Me", "SignIn", "Collective", "Feed"):
        await tab.expect_name(name)
    await tab.page.wait_for_load_state("networkidle")
    assert tab.hosts() == {urlsplit(graphiql_server).netloc}
    assert tab.complaints == []


async def test_typed_query_runs_and_its_answer_is_shown(tab: Tab) -> None:
    await tab.query("Typed", '{ collective(slug: "webpack") { slug currency } }')
    await tab.expect_answer(r'"slug":\s*"webpack",\s*"currency":\s*"USD"')
    assert tab.complaints == []


async def test_prettify_lays_out_the_query(tab: Tab) -> None:
    await tab.write(".graphiql-query-editor", "query Squeezed{me{slug name}}")
    await tab.expect_name("Squeezed")
    await tab.page.get_by_role("button", name="Prettify query").click()
    lines = tab.page.locator(".graphiql-query-editor .view-line")
    await expect(lines).to_have_count(7, timeout=WAIT_MS)
    assert tab.complaints == []


async def test_editor_checks_queries_against_the_schema(tab: Tab) -> None:
    # The check is made in a worker: it shows that workers start under the policy.
    await tab.write(".graphiql-query-editor", "{ me { noSuchField } }")
    await expect(tab.page.locator(".squiggly-error").first).to_be_attached(timeout=WAIT_MS)
    assert tab.complaints == []


async def test_me_is_null_without_token_and_the_user_with_it(tab: Tab, graphiql_server: str) -> None:
    await tab.query("Who", "{ me { slug } }")
    await tab.expect_answer(r'"me":\s*null')

    headers = {"Authorization": f"Bearer {await sign_in(graphiql_server)}"}
    await tab.write(".graphiql-editor-tool .graphiql-editor:not(.hidden)", json.dumps(headers))
    await tab.run()
    await tab.expect_answer(r'"slug":\s*"xdamman"')
    assert tab.complaints == []

    stored = await tab.page.evaluate("JSON.stringify(localStorage)")
    assert headers["Authorization"] not in stored, "tokens are not kept unless asked for"


async def test_explorer_lists_the_fields(tab: Tab) -> None:
    await tab.page.get_by_role("button", name="Show GraphiQL Explorer").click()
    explorer = tab.page.locator(".docExplorerWrap, .graphiql-explorer-root").first
    await expect(explorer).to_contain_text("collective", timeout=WAIT_MS)
    assert tab.complaints == []


async def sign_in(origin: str) -> str:
    """Sign in over the API; answers the session token."""
    mutation = """mutation ($input: SignInInput!) { signIn(input: $input) { session { token } } }"""
    variables = {"input": {"email": EMAIL, "password": PASSWORD}}
    async with httpx.AsyncClient(base_url=origin, trust_env=False) as client:
        answer = await client.post("/graphql", json={"query": mutation, "variables": variables})
    token: str = answer.json()["data"]["signIn"]["session"]["token"]
    return token


# --- the files ---


async def test_assets_are_kept_for_ever_and_missing_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphiql, "DIST", tmp_path)
    served = Starlette(routes=graphiql.static_routes())
    transport = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/graphiql/assets/main-1.js")).status_code == 404
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "main-1.js").write_text("1", encoding="ascii")
        asset = await client.get("/graphiql/assets/main-1.js")
        gone = await client.get("/graphiql/assets/main-2.js")
    assert asset.status_code == 200
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["x-content-type-options"] == "nosniff"
    assert gone.status_code == 404
    assert gone.headers["cache-control"] == "no-store"


def test_page_tells_how_to_build_it_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphiql, "DIST", tmp_path)
    page = graphiql.page()
    assert page.status_code == 503
    assert b"python -m schema.graphiql.build" in page.body
    assert "script-src 'self';" in page.headers["content-security-policy"]


def test_built_page_has_no_inline_script() -> None:
    if not (graphiql.DIST / "index.html").is_file():
        missing("GraphiQL is not built: python -m schema.graphiql.build")
    page = graphiql.page()
    assert page.status_code == 200
    html = bytes(page.body).decode()
    assert re.findall(r"<script[^>]*>([^<]*)", html) == [""]
    assert "//" not in html, "no address of another host"
    assert build.is_current(build.inputs_hash())


def test_lock_file_has_hashes_and_no_addresses() -> None:
    lock = json.loads((build.HERE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    # The bundler's binary for each platform, not only for the one that locked.
    binaries = {name.rpartition("/")[2] for name in packages if "@esbuild/" in name}
    assert {"linux-x64", "linux-arm64", "darwin-arm64", "darwin-x64", "win32-x64"} <= binaries


def test_build_without_node_says_so_and_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "find_spec", lambda _name: None)
    monkeypatch.setattr(build, "STAMP", tmp_path / "none")
    assert build.main() == 1
    said = capsys.readouterr().err
    assert "no Node 20 or newer" in said
    assert "The API serves without it." in said


async def test_npm_of_the_wheel_runs_where_the_path_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    _, npm = build.find_node()
    step = await asyncio.create_subprocess_exec(
        *npm, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await step.communicate()
    assert step.returncode == 0
    assert int(out.split(b".")[0]) >= 10
