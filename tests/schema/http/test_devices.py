"""Browsers are recognised by a cookie: a mail for a new one, once, and one session in each."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from services.access import attempt_limits
from services.identity import devices
from tests.conftest import Database
from tests.factories import Person, World
from tests.resolvers.test_accounts import OLD, with_password
from tests.resolvers.test_email_changes import mails
from tests.schema.http.test_endpoint_requests import post, serving

WISH = {"Commonweal-Cookie": "1"}
SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { session { token } errors { code } } }"
ME = {"query": "{ me { slug } }"}
NAME = "commonweal_device"


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(world.settings) as client:
        yield client


async def person(world: World, slug: str = "ada") -> Person:
    row = await world.person(slug)
    await with_password(world, row)
    return row


async def sign_in(client: httpx.AsyncClient, who: Person, **headers: str) -> httpx.Response:
    body = {"query": SIGN_IN, "variables": {"i": {"email": who.email, "password": OLD}}}
    answer = await post(client, body, **(WISH | headers))
    assert answer.json()["data"]["signIn"]["errors"] == []
    return answer


def device_cookie(answer: httpx.Response) -> Morsel[str] | None:
    morsels = [m for h in answer.headers.get_list("set-cookie") for m in SimpleCookie(h).values()]
    return next((m for m in morsels if m.key.endswith(NAME)), None)


def forget_all_but_device(browser: httpx.AsyncClient) -> None:
    key = browser.cookies.get(NAME)
    browser.cookies.clear()
    if key is not None:
        browser.cookies.set(NAME, key, domain="here.local", path="/")


async def told(world: World) -> list[dict[str, Any]]:
    return await mails(world, "new_device")


async def test_a_new_browser_is_told_by_mail_once(world: World, browser: httpx.AsyncClient) -> None:
    ada = await person(world)
    await sign_in(browser, ada)
    assert await told(world) == []  # nobody is told of their first sign-in
    for _ in range(2):
        await sign_in(browser, ada)
    assert await told(world) == []
    async with serving(world.settings) as second:
        for agent in ("Firefox", "Firefox", "Another name of the same browser"):
            await sign_in(second, ada, **{"User-Agent": agent})
    (mail,) = await told(world)
    assert (mail["to"], mail["device"], mail["network"]) == (ada.email, "Firefox", "127.0.0.1")
    assert mail["time"]["zone"] == "UTC"
    await sign_in(browser, ada)
    assert len(await told(world)) == 1


async def test_the_cookie_is_kept_from_scripts_and_signs_nobody_in(
    world: World, browser: httpx.AsyncClient
) -> None:
    cookie = device_cookie(await sign_in(browser, await person(world)))
    assert cookie is not None
    assert (cookie.key, cookie["path"], cookie["domain"]) == (NAME, "/", "")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "lax", "")
    assert int(cookie["max-age"]) == 400 * 86_400
    assert devices.is_key(cookie.value)
    async with serving(world.settings) as thief:
        answer = await post(thief, ME, Cookie=f"{NAME}={cookie.value}; commonweal_session={cookie.value}")
        assert (answer.json().get("data") or {}).get("me") is None
    stored = "SELECT count(*) FROM device d WHERE d::text LIKE '%' || :key || '%'"
    assert await world.scalar(stored, key=cookie.value) == 0


async def test_over_https_the_cookie_has_the_host_prefix(world: World) -> None:
    ada = await person(world)
    async with serving(replace(world.settings, public_url="https://api.example.org")) as client:
        cookie = device_cookie(await sign_in(client, ada))
        assert cookie is not None
        assert (cookie.key, cookie["secure"], cookie["httponly"]) == (f"__Host-{NAME}", True, True)


async def test_no_cookie_for_a_program_and_for_a_failure(world: World, browser: httpx.AsyncClient) -> None:
    ada = await person(world)
    body = {"query": SIGN_IN, "variables": {"i": {"email": ada.email, "password": OLD}}}
    assert device_cookie(await post(browser, body)) is None
    wrong = {"query": SIGN_IN, "variables": {"i": {"email": ada.email, "password": "wrong"}}}
    assert device_cookie(await post(browser, wrong, **WISH)) is None
    assert await world.scalar("SELECT count(*) FROM device") == 0


async def test_a_browser_keeps_one_session_even_if_it_lost_the_old_cookie(
    world: World, browser: httpx.AsyncClient
) -> None:
    ada, eve = await person(world), await person(world, "eve")
    open_sessions = "SELECT count(*) FROM token WHERE device_id IS NOT NULL AND revoked_at IS NULL"
    await sign_in(browser, ada)
    forget_all_but_device(browser)
    await sign_in(browser, ada)
    assert await world.scalar(open_sessions) == 1
    await sign_in(browser, eve)  # with the cookie of ada's session, which ends
    assert await world.scalar(open_sessions) == 1
    assert (await post(browser, ME)).json()["data"]["me"] == {"slug": "eve"}
    async with serving(world.settings) as second:
        await sign_in(second, eve)
    assert (await post(browser, ME)).json()["data"]["me"] == {"slug": "eve"}


@pytest.mark.parametrize("key", ["", "short", "x" * 44, "x" * 42 + "!", "x" * 5000])
async def test_a_malformed_key_is_replaced(world: World, browser: httpx.AsyncClient, key: str) -> None:
    ada = await person(world)
    cookie = device_cookie(await sign_in(browser, ada, Cookie=f"{NAME}={key}"))
    assert cookie is not None
    assert devices.is_key(cookie.value)
    assert cookie.value != key


async def test_two_sign_ins_at_once_from_a_new_browser_send_one_mail(world: World) -> None:
    ada = await person(world)
    async with serving(world.settings) as first:
        await sign_in(first, ada)
    headers = {"Cookie": f"{NAME}={devices.new_key()}"}
    async with serving(world.settings) as one, serving(world.settings) as two:
        await asyncio.gather(*(sign_in(client, ada, **headers) for client in (one, two)))
    assert len(await told(world)) == 1
    assert await world.scalar("SELECT count(*) FROM device") == 2


async def test_a_browser_known_by_name_and_network_is_adopted_silently(
    world: World, browser: httpx.AsyncClient
) -> None:
    ada = await person(world)
    body = {"query": SIGN_IN, "variables": {"i": {"email": ada.email, "password": OLD}}}
    await post(browser, body)  # as before there were such cookies
    await sign_in(browser, ada)
    assert await told(world) == []


async def test_strangers_lock_nobody_out_of_a_browser_they_have_signed_in_with(
    world: World, browser: httpx.AsyncClient, database: Database
) -> None:
    ada = await person(world)
    await sign_in(browser, ada)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE token SET network = '198.51.100.1'")
    async with world.sessions() as session, session.begin():
        full = "INSERT INTO throttle VALUES (:key, :n, now() + interval '15 minutes')"
        values = {"key": f"sign-in:account:{ada.email}", "n": attempt_limits.SIGN_INS_PER_ACCOUNT}
        await session.execute(text(full + " ON CONFLICT (key) DO UPDATE SET attempts = :n"), values)
    body = {"query": SIGN_IN, "variables": {"i": {"email": ada.email, "password": OLD}}}
    async with serving(world.settings) as elsewhere:
        refused = await post(elsewhere, body, **WISH)
        assert [e["code"] for e in refused.json()["data"]["signIn"]["errors"]] == ["RATE_LIMITED"]
    await sign_in(browser, ada)


async def test_the_same_key_of_two_users_is_two_devices(world: World, browser: httpx.AsyncClient) -> None:
    ada, eve = await person(world), await person(world, "eve")
    for who in (ada, eve, ada, eve):
        await sign_in(browser, who)
    assert await world.scalar("SELECT count(*) FROM device") == 2
    assert await told(world) == []
