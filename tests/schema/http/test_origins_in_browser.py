"""Pages from other origins cannot act for a signed-in user, tested in a real browser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from schema.documents import document_cache
from schema.server.app import create_application
from tests.browser import browser, context, listen, origin_of, serve_in_thread
from tests.factories import Person, World
from tests.schema.http.test_cookie_session import ME, SIGN_IN, SIGN_OUT, sign_in_body, with_password

__all__ = ["browser", "context"]
ASK = """async ([url, body, headers]) => {
  const answer = await fetch(url, {
    method: "POST", credentials: "include", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
  return answer.json();
}"""
FORM = """([url, kind, fields]) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: url, enctype: kind, target: "_blank" });
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}"""
FETCH = """async ([url, options]) => {
  try {
    const answer = await fetch(url, { credentials: "include", ...options });
    return `${answer.type}: ${await answer.text()}`;
  } catch (error) { return error.name; }
}"""
IMAGE = """(url) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done("loaded");
  image.onerror = () => done("error");
  image.src = url;
})"""
CONNECT = """(url) => new Promise((done) => {
  const socket = new WebSocket(url.replace("http", "ws"), "graphql-transport-ws");
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""
HIDDEN = "opaque: "
"""The result of reading a response that the page may not read."""


@dataclass
class Origins:
    """The API, and pages elsewhere: of the allow list, on another port, and of another site."""

    api: str
    listed: str
    same_site: str
    cross_site: str
    ada: Person

    @property
    def url(self) -> str:
        """The origin of the API."""
        return f"{self.api}/graphql"

    @property
    def by_id(self) -> str:
        """A persisted query of who is signed in, as an address."""
        return f"{self.url}?documentId=sha256:{document_cache.hash_text(ME['query'])}"


@pytest.fixture
async def origins(world: World) -> AsyncIterator[Origins]:
    ada = await with_password(world, "ada")
    api, listed, other = listen(), listen(), listen()
    settings = replace(world.settings, allowed_origins=origin_of(listed), pool_size=4)
    result = Origins(
        origin_of(api),
        origin_of(listed),
        origin_of(other),
        origin_of(other).replace("127.0.0.1", "localhost"),
        ada,
    )

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>A page</title><body>")

    with (
        serve_in_thread(create_application(settings), [api]),
        serve_in_thread(Starlette(routes=[Route("/", page)]), [listed, other]),
    ):
        yield result


async def open_page(context: BrowserContext, origin: str) -> Page:
    """Open the page of an origin."""
    page = await context.new_page()
    await page.goto(origin)
    return page


async def send_from(page: Page, origins: Origins, body: Any, **headers: str) -> Any:
    """Send a request from a page's script."""
    return await page.evaluate(ASK, [origins.url, body, headers])


async def signed_in(context: BrowserContext, origins: Origins) -> Page:
    """Sign in on the page of the allow list; keep the query of who is signed in as a persisted document."""
    page = await open_page(context, origins.listed)
    answer = await send_from(page, origins, sign_in_body(origins.ada), **{"Commonweal-Cookie": "1"})
    assert answer["data"]["signIn"]["errors"] == []
    assert answer["data"]["signIn"]["session"]["token"] == ""
    await send_from(page, origins, ME | {"documentId": f"sha256:{document_cache.hash_text(ME['query'])}"})
    return page


async def test_a_page_from_an_allowed_origin_signs_in_queries_and_signs_out(
    context: BrowserContext, origins: Origins
) -> None:
    page = await signed_in(context, origins)
    cookies = await context.cookies(origins.api)
    assert sorted((c["name"], c["httpOnly"], c["sameSite"]) for c in cookies) == [
        ("commonweal_device", True, "Lax"),
        ("commonweal_session", True, "Strict"),
    ]
    assert await page.evaluate("document.cookie") == ""
    assert await send_from(page, origins, ME) == {"data": {"me": {"slug": "ada"}}}
    assert await page.evaluate(FETCH, [origins.by_id, {}]) == 'cors: {"data":{"me":{"slug":"ada"}}}'
    tag = await page.evaluate(
        "async (url) => (await fetch(url, { credentials: 'include' })).headers.get('ETag')", origins.by_id
    )
    assert tag.startswith('W/"')
    receipt = {"method": "POST", "headers": {"Content-Type": "image/png"}, "body": "\x7fPNG is this not"}
    assert "INVALID_INPUT" in await page.evaluate(FETCH, [f"{origins.api}/receipts", receipt])
    await send_from(page, origins, SIGN_OUT)
    assert await send_from(page, origins, ME) == {"data": {"me": None}}
    assert [c["name"] for c in await context.cookies(origins.api)] == ["commonweal_device"]


@pytest.mark.parametrize("site", ["same_site", "cross_site"])
async def test_a_page_from_another_origin_can_neither_act_nor_read(
    context: BrowserContext, origins: Origins, site: str
) -> None:
    good = await signed_in(context, origins)
    evil = await open_page(context, getattr(origins, site))
    statuses: list[tuple[str, int]] = []

    def note(answer: Response) -> None:
        statuses.append((answer.request.method, answer.status))

    evil.on("response", note)
    sign_out = '{"query": "mutation { signOut { errors { code } } }"}'

    # What needs a preflight: nothing is sent after it.
    for headers in (
        {"Content-Type": "application/json"},
        {"Commonweal-Cookie": "1"},
        {"Commonweal-Preflight": "1"},
    ):
        options = {"method": "POST", "body": sign_out, "headers": headers}
        assert await evil.evaluate(FETCH, [origins.url, options]) == "TypeError"
    assert (
        await evil.evaluate(FETCH, [origins.by_id, {"headers": {"Commonweal-Preflight": "1"}}]) == "TypeError"
    )
    assert "POST" not in {method for method, _ in statuses}

    # What needs none: it arrives, and is refused; nothing can be read of it.
    plain = {"method": "POST", "mode": "no-cors", "body": sign_out}
    assert await evil.evaluate(FETCH, [origins.url, plain]) == HIDDEN
    assert statuses[-1] == ("POST", 415)
    assert await evil.evaluate(FETCH, [origins.by_id, {"mode": "no-cors"}]) == HIDDEN
    # A cookie goes to another port of its site, whatever SameSite says; elsewhere the browser keeps it back.
    assert statuses[-1] == ("GET", 403 if site == "same_site" else 200)
    assert await evil.evaluate(FETCH, [origins.by_id, {}]) == "TypeError"
    assert await evil.evaluate(IMAGE, origins.by_id) == "error"
    words = f"{origins.url}?query=mutation%7BsignOut%7Berrors%7Bcode%7D%7D%7D"
    assert await evil.evaluate(IMAGE, words) == "error"
    assert await evil.evaluate(FETCH, [f"{origins.api}/receipts", {**plain, "body": "x"}]) == HIDDEN

    assert await evil.evaluate(CONNECT, origins.url) == "refused"

    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        fields = {
            '{"query": "mutation { signOut { errors { code } } }", "a': '"}',
            "query": SIGN_OUT["query"],
        }
        async with context.expect_page() as opened:
            await evil.evaluate(FORM, [origins.url, kind, fields])
        answered = await opened.value
        await answered.wait_for_load_state()
        assert "signOut" not in await answered.content()
        await answered.close()

    assert await send_from(good, origins, ME) == {"data": {"me": {"slug": "ada"}}}, "still signed in"


async def test_a_page_from_another_origin_cannot_sign_its_visitor_in(
    context: BrowserContext, origins: Origins
) -> None:
    evil = await open_page(context, origins.same_site)
    body = {"query": SIGN_IN, "variables": {"i": {"email": origins.ada.email, "password": "correct horse"}}}
    options = {"method": "POST", "body": str(body), "headers": {"Commonweal-Cookie": "1"}}
    assert await evil.evaluate(FETCH, [origins.url, options]) == "TypeError"
    assert await context.cookies(origins.api) == []
