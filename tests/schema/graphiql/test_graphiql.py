"""GraphiQL in a real browser: offline, under its security policy, with the API behind it."""

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import BrowserContext, Route, expect
from starlette.applications import Starlette
from starlette.types import ASGIApp

from schema import graphiql
from schema.demo import world
from schema.graphiql import build
from schema.server import app
from services.collectives import platform_policy
from services.database.engine import create_pool, session_factory
from tests.browser import WAIT_MS, Tab, browser, context, listen, origin_of, serve_in_thread, skip_or_fail
from tests.conftest import MakeDatabase

__all__ = ["browser", "context"]
EMAIL, PASSWORD = "xdamman@commonweal.test", "oc"


# --- the server ---


def application(make_database: MakeDatabase) -> ASGIApp:
    """Create an application with its own demo world."""
    settings = make_database().settings

    async def load() -> None:
        engine = create_pool(settings)
        created = session_factory(engine)
        async with created() as session, session.begin():
            await platform_policy.ensure_platform(session)
        await world.load(created, settings)
        await engine.dispose()

    # Beside the tests' event loop, for the server has a loop of its own.
    thread = threading.Thread(target=asyncio.run, args=(load(),))
    thread.start()
    thread.join()
    return app.create_application(settings)


@pytest.fixture(scope="session")
def graphiql_server(make_database: MakeDatabase) -> Iterator[str]:
    """Serve the application on a free port of loopback; yields its origin."""
    if not (graphiql.DIST / "index.html").is_file():
        skip_or_fail("GraphiQL is not built: python -m schema.graphiql.build")
    listening = listen()
    with serve_in_thread(application(make_database), [listening]):
        yield origin_of(listening)


@pytest.fixture
async def tab(graphiql_server: str, context: BrowserContext) -> Tab:
    """Open GraphiQL and wait until it knows the schema."""
    opened = Tab.of(await context.new_page())
    # The schema is asked for by POST, as soon as the page is up.
    async with opened.page.expect_response(
        lambda response: response.request.method == "POST", timeout=WAIT_MS
    ):
        await opened.page.goto(f"{graphiql_server}/graphql")
    editor = opened.page.locator(".graphiql-query-editor .view-lines")
    await expect(editor).to_contain_text("Me", timeout=WAIT_MS)
    return opened


# --- in the browser ---


async def test_the_page_loads_from_its_own_host_without_errors(tab: Tab, graphiql_server: str) -> None:
    await tab.expect_name("Me")
    await tab.page.wait_for_load_state("networkidle")
    assert tab.hosts() == {urlsplit(graphiql_server).netloc}
    assert tab.complaints == []


async def test_a_typed_query_runs_and_its_answer_appears(tab: Tab) -> None:
    await tab.query("Typed", '{ collective(slug: "webpack") { slug currency } }')
    await tab.expect_answer(r'"slug":\s*"webpack",\s*"currency":\s*"USD"')
    assert tab.complaints == []


async def test_prettify_formats_the_query(tab: Tab) -> None:
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


async def test_me_is_null_without_a_token_and_the_user_with_one(tab: Tab, graphiql_server: str) -> None:
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


async def sign_in_by_panel(tab: Tab, email: str, password: str = PASSWORD) -> None:
    """Open the panel Account and fill in its form."""
    if not await tab.page.get_by_role("heading", name="Account").is_visible():
        await tab.page.get_by_role("button", name="Show Account").click()
    await tab.page.get_by_label("Email").fill(email)
    await tab.page.get_by_label("Password").fill(password)
    await tab.page.get_by_role("button", name="Sign in", exact=True).click()


async def test_signing_in_and_out_in_the_panel(tab: Tab, context: BrowserContext) -> None:
    await sign_in_by_panel(tab, EMAIL, "wrong")
    panel = tab.page.locator(".commonweal-panel")
    wrong = "The email address or password is wrong."
    await expect(panel.get_by_role("alert")).to_have_text(wrong, timeout=WAIT_MS)
    await sign_in_by_panel(tab, EMAIL)
    await expect(panel).to_contain_text("(xdamman)", timeout=WAIT_MS)
    await tab.query("Who", "{ me { slug } }")
    await tab.expect_answer(r'"slug":\s*"xdamman"')

    cookies = await context.cookies()
    # The session, and the device by which the next sign-in is recognised.
    assert sorted((c["httpOnly"], c["sameSite"]) for c in cookies) == [(True, "Lax"), (True, "Strict")]
    kept = await tab.page.evaluate("document.cookie + JSON.stringify(localStorage)")
    assert not any(c["value"] in kept for c in cookies)

    await tab.page.reload()
    await expect(panel).to_contain_text("(xdamman)", timeout=WAIT_MS)
    await tab.page.get_by_role("button", name="Sign out").click()
    await expect(tab.page.get_by_label("Email")).to_be_visible(timeout=WAIT_MS)
    assert [c["sameSite"] for c in await context.cookies()] == ["Lax"]
    await tab.query("Whom", "{ me { slug } }")
    await tab.expect_answer(r'"me":\s*null')
    assert tab.complaints == []


async def test_the_panel_shows_an_admin_the_statements_of_the_last_query(tab: Tab) -> None:
    await tab.page.get_by_role("button", name="Show Last query").click()
    panel = tab.page.locator(".commonweal-panel")
    await expect(panel).to_contain_text("None was run yet")
    await panel.get_by_role("checkbox").check()
    await tab.query("Latest", "{ transactions(first: 5) { nodes { fromCollective { slug } } } }")
    await expect(panel).to_contain_text("ADMINs of the platform alone", timeout=WAIT_MS)

    await sign_in_by_panel(tab, "admin@commonweal.test")
    await expect(panel).to_contain_text("Signed in as", timeout=WAIT_MS)
    await tab.page.get_by_role("button", name="Show Last query").click()
    await tab.run()
    statements = panel.locator(".commonweal-statements pre")
    await expect(statements.first).to_contain_text("token_hash = %(token_hash)s", timeout=WAIT_MS)
    await expect(panel.locator(".commonweal-statements")).to_contain_text("FROM transaction")
    await expect(panel).to_contain_text(re.compile(r"\d statements, [\d.]+ ms"))
    await expect(tab.page.locator(".result-window")).not_to_contain_text("statement")
    if where := os.environ.get("COMMONWEAL_TEST_SCREENSHOT"):
        await tab.page.screenshot(path=where)

    await panel.get_by_role("checkbox").uncheck()
    await tab.run()
    await expect(statements).to_have_count(0, timeout=WAIT_MS)
    assert tab.complaints == []


async def test_the_panel_shows_what_the_last_query_cost(tab: Tab) -> None:
    response = await tab.page.request.post(
        tab.page.url, data={"query": "{ __typename }"}, headers={"Commonweal-Cost": "1"}
    )
    if "cost" not in (await response.json()).get("extensions", {}):
        pytest.skip("the server tells no cost")
    await tab.page.get_by_role("button", name="Show Last query").click()
    await tab.query("Costly", "{ transactions(first: 5) { nodes { id } } }")
    panel = tab.page.locator(".commonweal-panel")
    await expect(panel).to_contain_text(re.compile(r"Requested[\d.,]+"), timeout=WAIT_MS)
    await expect(panel).to_contain_text(re.compile(r"Left[\d.,]+ of [\d.,]+"))
    await expect(panel.get_by_role("meter")).to_be_visible()
    await expect(tab.page.locator(".result-window")).not_to_contain_text("requestedQueryCost")
    assert tab.complaints == []


LIVE = (
    'subscription Live { balanceChanged(collective: {slug: "xdamman"}) '
    "{ balances { currency available { value } } } }"
)
COST = {
    "requestedQueryCost": 37,
    "actualQueryCost": 12.5,
    "throttleStatus": {"maximumAvailable": 2000, "currentlyAvailable": 1963, "restoreRate": 100},
}


async def test_the_panel_reads_cost_and_limits_from_the_headers(tab: Tab) -> None:
    # What a server may say is put in its mouth: the bucket's state is no matter of this page.
    async def say(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json() | {"extensions": {"cost": COST, "other": 1}}
        headers = answer.headers | {"RateLimit-Remaining": "1963", "Retry-After": "1"}
        await route.fulfill(status=answer.status, headers=headers, body=json.dumps(body))

    await tab.page.route("**/graphql", say)
    await tab.page.get_by_role("button", name="Show Last query").click()
    await tab.query("Costly", "{ me { slug } }")
    panel = tab.page.locator(".commonweal-panel")
    for words in (
        "Requested37",
        "Actual12.5",
        "Left1,963 of 2,000",
        "Restored100 a second",
        "ratelimit-remaining1963",
        "retry-after1",
        "Status200",
        "OperationCostly",
    ):
        await expect(panel).to_contain_text(words, timeout=WAIT_MS)
    await tab.expect_answer(r'"other":\s*1')
    await expect(tab.page.locator(".result-window")).not_to_contain_text("requestedQueryCost")
    assert tab.complaints == []


async def test_a_subscription_runs(tab: Tab, graphiql_server: str) -> None:
    response = await tab.page.request.post(
        tab.page.url, data={"query": "{ __schema { subscriptionType { fields { name } } } }"}
    )
    fields = ((await response.json())["data"]["__schema"]["subscriptionType"] or {}).get("fields", [])
    if "balanceChanged" not in {field["name"] for field in fields}:
        pytest.skip("the schema has no subscription `balanceChanged`")
    await sign_in_by_panel(tab, EMAIL)
    await expect(tab.page.locator(".commonweal-panel")).to_contain_text("(xdamman)", timeout=WAIT_MS)
    async with tab.page.expect_websocket(timeout=WAIT_MS) as opened:
        await tab.write(".graphiql-query-editor", LIVE)
        await tab.expect_name("Live")
        await tab.run()
    socket = await opened.value
    assert urlsplit(socket.url).netloc == urlsplit(graphiql_server).netloc
    # What is paid before the subscription stands is not told: paid until something is.
    answer = tab.page.locator(".result-window .view-lines")
    for _ in range(10):
        await pay(graphiql_server, "xdamman")
        with suppress(AssertionError):
            await expect(answer).to_contain_text(re.compile(r'"available":\s*\{\s*"value":'), timeout=2_000)
            break
    await tab.expect_answer(r'"balanceChanged":')
    if where := os.environ.get("COMMONWEAL_TEST_SCREENSHOT"):
        await tab.page.screenshot(path=f"{where}.live.png")
    await tab.page.get_by_role("button", name="Stop query").click()
    assert tab.complaints == []


async def pay(origin: str, slug: str) -> None:
    """Have the platform give somebody a dollar."""
    mutation = "mutation ($i: AddFundsInput!) { addFunds(input: $i) { errors { code } } }"
    arguments = {"to": {"slug": slug}, "amount": {"value": "1.00", "currency": "USD"}, "hostFeeBps": 0}
    headers = {"Authorization": f"Bearer {await sign_in(origin, 'admin@commonweal.test')}"}
    async with httpx.AsyncClient(base_url=origin, trust_env=False, headers=headers) as client:
        answer = await client.post("/graphql", json={"query": mutation, "variables": {"i": arguments}})
    assert answer.json() == {"data": {"addFunds": {"errors": []}}}


async def sign_in(origin: str, email: str = EMAIL) -> str:
    """Sign in over the API; answers the session token."""
    mutation = """mutation ($input: SignInInput!) { signIn(input: $input) { session { token } } }"""
    variables = {"input": {"email": email, "password": PASSWORD}}
    async with httpx.AsyncClient(base_url=origin, trust_env=False) as client:
        answer = await client.post("/graphql", json={"query": mutation, "variables": variables})
    token: str = answer.json()["data"]["signIn"]["session"]["token"]
    return token


# --- the files ---


async def test_assets_are_cached_forever_and_missing_ones_are_not(
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


def test_a_page_that_is_not_built_explains_how_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphiql, "DIST", tmp_path)
    page = graphiql.page()
    assert page.status_code == 503
    assert b"python -m schema.graphiql.build" in page.body
    assert "script-src 'self';" in page.headers["content-security-policy"]


def test_the_built_page_has_no_inline_script() -> None:
    if not (graphiql.DIST / "index.html").is_file():
        skip_or_fail("GraphiQL is not built: python -m schema.graphiql.build")
    page = graphiql.page()
    assert page.status_code == 200
    html = bytes(page.body).decode()
    assert re.findall(r"<script[^>]*>([^<]*)", html) == [""]
    assert "//" not in html, "no address of another host"
    assert build.is_current(build.inputs_hash())


def test_the_lock_file_has_hashes_and_no_urls() -> None:
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


async def test_npm_from_the_wheel_runs_if_the_path_has_none(
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
