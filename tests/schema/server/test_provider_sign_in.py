"""Signing in with another provider: a real one on loopback, and answers that do not hold."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import psycopg
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import text

from models import Identity, Passkey
from services.core.errors import ConfigurationError
from services.identity import oidc_providers
from tests.conftest import Database
from tests.factor_world import age_confirmation, code_of, with_app
from tests.factories import Person, World, error_codes
from tests.oidc_provider import OidcProvider, run_provider
from tests.resolvers.test_accounts import OLD, with_password
from tests.resolvers.test_email_changes import mails
from tests.schema.http.test_endpoint_requests import post, serving

BEGIN = "/sign-in/oidc/acme"
ME = {"query": "{ me { slug name email isClaimed identities { id provider email } } }"}


@pytest.fixture(scope="module")
def acme() -> Iterator[OidcProvider]:
    with run_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def other() -> Iterator[OidcProvider]:
    with run_provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def honest(acme: OidcProvider, other: OidcProvider) -> None:
    for provider in (acme, other):
        provider.spoil()
        for name in ("ada", "bea", "eve"):
            provider.has_user(name, name=name.title(), email=f"{name}@commonweal.test", email_verified=True)


@pytest.fixture
async def world(world: World, acme: OidcProvider, other: OidcProvider) -> World:
    entries = [
        {"name": name, "issuer": provider.issuer, "client_id": f"commonweal-{name}", "client_secret": "s"}
        for name, provider in (("acme", acme), ("other", other))
    ]
    world.settings = replace(world.settings, oidc_providers=json.dumps(entries))
    return world


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(world.settings) as client:
        yield client


async def begun(browser: httpx.AsyncClient, *, path: str = BEGIN, **headers: str) -> str:
    """Begin a sign-in; return the provider's page."""
    answer = await browser.get(path, headers=headers)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def followed(browser: httpx.AsyncClient, path: str) -> httpx.Response:
    """Follow a provider's redirect, and the page of ours that asks again."""
    bounce = await browser.get(path)
    assert bounce.status_code == 200
    match = re.search(r'url=([^"]*)"', bounce.text)
    assert match is not None
    return await browser.get(urlsplit(path).path + unescape(match.group(1)))


async def signed_in(
    browser: httpx.AsyncClient, provider: OidcProvider, subject: str, *, path: str = BEGIN, **headers: str
) -> httpx.Response:
    page = await begun(browser, path=path, **headers)
    back = await asyncio.to_thread(provider.sign_in, page, subject)
    return await followed(browser, back)


async def me(browser: httpx.AsyncClient) -> Any:
    return (await post(browser, ME)).json()["data"]["me"]


def session_header(person: Person) -> dict[str, str]:
    return {"Cookie": f"commonweal_session={person.token}", "Sec-Fetch-Site": "same-origin"}


async def test_a_new_person_gets_a_verified_account_without_a_password(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    answer = await signed_in(browser, acme, "ada", path=f"{BEGIN}?next=/graphql%3Fx%3D1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/graphql?x=1")
    found = await me(browser)
    assert (found["name"], found["email"], found["isClaimed"]) == ("Ada", "ada@commonweal.test", True)
    assert [(i["provider"], i["email"]) for i in found["identities"]] == [("acme", "ada@commonweal.test")]
    stored = (
        "SELECT verified_at IS NOT NULL AND password_hash IS NULL FROM credential WHERE email LIKE 'ada@%'"
    )
    assert await world.scalar(stored)
    again = await signed_in(browser, acme, "ada")
    assert again.headers["location"] == "/"
    assert await world.scalar("SELECT count(*) FROM identity") == 1
    assert (
        await world.scalar(
            "SELECT count(*) FROM token WHERE revoked_at IS NULL AND user_id = (SELECT user_id FROM identity)"
        )
        == 1
    )  # a browser keeps one session


async def test_the_code_is_bound_by_pkce_and_the_secrets_are_never_stored(
    browser: httpx.AsyncClient, acme: OidcProvider, database: Database
) -> None:
    await signed_in(browser, acme, "ada")
    asked, redeemed = acme.seen()[-2:]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["code_challenge"] == create_s256_code_challenge(redeemed["code_verifier"])
    assert len(redeemed["code_verifier"]) == 43
    with psycopg.connect(database.owner_url) as owner:
        rows = str(owner.execute("SELECT p::text FROM provider_sign_in p").fetchall())
    for secret in (redeemed["code_verifier"], asked["nonce"], asked["state"], redeemed["code"]):
        assert secret not in rows


async def test_an_invited_person_is_claimed_with_history(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada", claimed=False)
    await signed_in(browser, acme, "ada")
    assert (await me(browser))["isClaimed"]
    assert await world.scalar("SELECT user_id FROM identity") == ada.user.id


async def test_an_account_is_linked_by_its_password_once(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    page = await signed_in(browser, acme, "ada")
    assert page.status_code == 200
    assert await me(browser) is None
    action = re.search(r'action="([^"]*)"', page.text)
    assert action is not None
    place = f"{BEGIN}/{unescape(action.group(1))}"
    wrong = await browser.post(place, data={"password": "wrong"})
    assert (wrong.status_code, await me(browser)) == (400, None)
    async with serving(world.settings) as elsewhere:
        assert (await elsewhere.post(place, data={"password": OLD})).status_code == 400
        assert await me(elsewhere) is None
    assert await world.scalar("SELECT count(*) FROM identity") == 0
    answer = await browser.post(place, data={"password": OLD})
    assert answer.status_code == 303
    assert (await me(browser))["slug"] == "ada"
    assert [m["to"] for m in await mails(world, "identity_linked")] == [ada.email]
    assert (await browser.post(place, data={"password": OLD})).status_code == 400  # once
    browser.cookies.clear()
    assert (await signed_in(browser, acme, "ada")).status_code == 303
    assert (await me(browser))["slug"] == "ada"


async def test_a_signed_in_person_links_and_unlinks_an_identity(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    answer = await signed_in(browser, acme, "eve", path=f"{BEGIN}?link=1", **session_header(ada))
    assert answer.status_code == 303
    query = "{ me { identities { id email } } }"
    ((identity),) = (await world.query(query, by=ada))["me"]["identities"]
    assert identity["email"] == "eve@commonweal.test"
    assert (await world.query(query, by=await world.access_token(ada, "READ")))["me"]["identities"] == []
    for by, code in ((ada, "INVALID_STATE"), (world.admin, "NOT_FOUND")):
        refused = await world.mutate("unlinkIdentity", by=by, id=identity["id"])
        assert error_codes(refused) == [(code, ["input", "id"])]
    assert await world.scalar("SELECT count(*) FROM identity") == 1
    await with_password(world, ada)
    assert (await world.mutate("unlinkIdentity", "identity { id }", by=ada, id=identity["id"]))[
        "errors"
    ] == []
    assert await world.scalar("SELECT count(*) FROM identity") == 0


async def test_a_second_factor_is_asked_for_after_the_provider_too(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    await world.add(Identity(user_id=ada.user.id, issuer=acme.issuer, subject="ada"))
    secret, codes = await with_app(world, ada)
    place = f"{BEGIN}/factor"
    for right in (code_of(secret, seconds=30), codes[0]):
        page = await signed_in(browser, acme, "ada", path=f"{BEGIN}?next=/x")
        assert (page.status_code, await me(browser)) == (200, None)
        fields = hidden_fields(page.text)
        assert (await browser.post(place, data=fields | {"code": "wrong-code"})).status_code == 400
        assert await me(browser) is None
        done = await browser.post(place, data=fields | {"code": right, "next": "//evil.example"})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert (await me(browser))["slug"] == "ada"
        browser.cookies.clear()


def hidden_fields(page: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page)}


async def test_a_form_of_another_page_signs_nobody_in(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    eve = await world.person("eve")
    await world.add(Identity(user_id=eve.user.id, issuer=acme.issuer, subject="eve"))
    _, codes = await with_app(world, eve)
    form = hidden_fields((await signed_in(browser, acme, "eve")).text) | {"code": codes[0]}
    async with serving(world.settings) as victim:
        for has_begun in (False, True):
            if has_begun:
                await begun(victim)
            answer = await victim.post(f"{BEGIN}/factor", data=form)
            assert (answer.status_code, await me(victim)) == (400, None)
            assert "another browser" in answer.text
    for place in ("/sign-in/oidc/other/factor", "/sign-in/oidc/nothing/factor"):
        assert (await browser.post(place, data=form)).status_code == 400
    assert (await browser.post(f"{BEGIN}/factor", data=form | {"seal": "é"})).status_code == 400
    assert await me(browser) is None
    assert (await browser.post(f"{BEGIN}/factor", data=form)).status_code == 303
    assert (await me(browser))["slug"] == "eve"


async def test_the_key_of_the_browser_outlives_the_second_factor(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    await world.add(Identity(user_id=ada.user.id, issuer=acme.issuer, subject="ada"))
    await with_app(world, ada)
    page = await signed_in(browser, acme, "ada")
    assert "commonweal_sign_in=" in page.headers["set-cookie"]


def test_a_server_starts_without_what_providers_and_passkeys_need() -> None:
    slow = ["httpx", "authlib", "joserfc", "webauthn"]
    program = f"import sys, schema.server.app; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_a_passkey_is_shown_on_the_page_that_can_ask_for_it(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    await world.add(Identity(user_id=ada.user.id, issuer=acme.issuer, subject="ada"))
    await world.add(Passkey(user_id=ada.user.id, name="x", credential_id=b"x", public_key=b"x", sign_count=0))
    page = await signed_in(browser, acme, "ada")
    assert 'href="/sign-in#challenge=cwc_' in page.text
    assert await me(browser) is None


async def test_linking_needs_a_session_confirmed_lately(world: World, browser: httpx.AsyncClient) -> None:
    ada = await world.person("ada")
    await age_confirmation(world, ada)
    answer = await browser.get(f"{BEGIN}?link=1", headers=session_header(ada))
    assert answer.status_code == 400
    assert "confirmSession" in answer.text
    assert await world.scalar("SELECT count(*) FROM provider_sign_in") == 0


async def test_an_identity_of_another_user_is_not_linked(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    await signed_in(browser, acme, "eve")
    ada = await world.person("ada")
    browser.cookies.clear()
    answer = await signed_in(browser, acme, "eve", path=f"{BEGIN}?link=1", **session_header(ada))
    assert answer.status_code == 400
    assert await world.scalar("SELECT count(*) FROM identity WHERE user_id = :u", u=ada.user.id) == 0


async def test_only_a_session_of_our_own_pages_links(world: World, browser: httpx.AsyncClient) -> None:
    ada = await world.person("ada")
    program = {"Authorization": f"Bearer {await world.access_token(ada, 'READ', 'COLLECTIVES')}"}
    cross = session_header(ada) | {"Sec-Fetch-Site": "cross-site"}
    for headers in ({}, program, cross):
        answer = await browser.get(f"{BEGIN}?link=1", headers=headers)
        assert answer.status_code in {400, 403}
        assert "location" not in answer.headers
    assert await world.scalar("SELECT count(*) FROM provider_sign_in") == 0


async def test_a_session_that_ended_meanwhile_links_nothing(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    ada = await world.person("ada")
    page = await begun(browser, path=f"{BEGIN}?link=1", **session_header(ada))
    await world.query("mutation { signOut { errors { code } } }", by=ada)
    back = await asyncio.to_thread(acme.sign_in, page, "eve")
    assert (await followed(browser, back)).status_code == 400
    assert await world.scalar("SELECT count(*) FROM identity") == 0


async def test_the_state_of_another_browser_is_refused(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    page = await begun(browser)
    back = await asyncio.to_thread(acme.sign_in, page, "eve")
    async with serving(world.settings) as victim:
        for has_begun in (False, True):
            if has_begun:
                await begun(victim)
            answer = await followed(victim, back)
            assert (answer.status_code, await me(victim)) == (400, None)
    assert await world.scalar("SELECT count(*) FROM identity") == 0
    assert (await followed(browser, back)).status_code == 303  # it was not spent by the other browser


async def test_a_code_and_a_state_work_once(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    back = await asyncio.to_thread(acme.sign_in, await begun(browser), "ada")
    assert (await followed(browser, back)).status_code == 303
    await browser.post("/graphql", json={"query": "mutation { signOut { errors { code } } }"})
    assert (await followed(browser, back)).status_code == 400
    fresh = parse_qs(urlsplit(await begun(browser)).query)["state"][0]
    code = parse_qs(urlsplit(back).query)["code"][0]
    replayed = f"{BEGIN}/callback?code={quote(code)}&state={quote(fresh)}"
    assert (await followed(browser, replayed)).status_code == 400
    assert (
        await world.scalar(
            "SELECT count(*) FROM token WHERE revoked_at IS NULL AND user_id = (SELECT user_id FROM identity)"
        )
        <= 1
    )


async def test_an_id_token_of_an_earlier_sign_in_is_refused(
    browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    await signed_in(browser, acme, "ada")
    earlier = acme.answer()["id_token"]
    acme.spoil(token={"id_token": earlier})
    browser.cookies.clear()
    answer = await signed_in(browser, acme, "ada")
    assert (answer.status_code, await me(browser)) == (400, None)


async def test_another_issuer_is_refused(
    browser: httpx.AsyncClient, acme: OidcProvider, other: OidcProvider
) -> None:
    back = await asyncio.to_thread(acme.sign_in, await begun(browser), "ada")
    mixed = await followed(browser, f"{back}&iss={quote(other.issuer, safe='')}")
    assert (mixed.status_code, await me(browser)) == (400, None)
    back = await asyncio.to_thread(acme.sign_in, await begun(browser), "ada")
    named = await followed(browser, f"{back}&iss={quote(acme.issuer, safe='')}")
    assert named.status_code == 303
    browser.cookies.clear()
    # The sign-in of one provider comes back to the other's address.
    back = await asyncio.to_thread(acme.sign_in, await begun(browser), "ada")
    assert (await followed(browser, back.replace("/acme/", "/other/"))).status_code == 400
    # The other provider's token, with our nonce, for our client.
    page = await begun(browser)
    elsewhere = page.replace(acme.url, other.url)
    code = parse_qs(urlsplit(await asyncio.to_thread(other.sign_in, elsewhere, "ada")).query)["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "client_id": "commonweal-acme"}
    fields["redirect_uri"] = parse_qs(urlsplit(page).query)["redirect_uri"][0]
    token = await asyncio.to_thread(other.redeem, fields)
    back = await asyncio.to_thread(acme.sign_in, page, "ada")
    acme.spoil(token={"id_token": token["id_token"], "access_token": token["access_token"]})
    answer = await followed(browser, back)
    assert (answer.status_code, await me(browser)) == (400, None)


async def test_a_token_for_another_client_is_refused(browser: httpx.AsyncClient, acme: OidcProvider) -> None:
    page = (await begun(browser)).replace("client_id=commonweal-acme", "client_id=somebody-else")
    code = parse_qs(urlsplit(await asyncio.to_thread(acme.sign_in, page, "ada")).query)["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "client_id": "somebody-else"}
    fields["redirect_uri"] = parse_qs(urlsplit(page).query)["redirect_uri"][0]
    token = await asyncio.to_thread(acme.redeem, fields)
    acme.spoil(token={"id_token": token["id_token"], "access_token": token["access_token"]})
    state = parse_qs(urlsplit(page).query)["state"][0]
    acme_code = await asyncio.to_thread(acme.sign_in, await begun(browser), "ada")
    code = parse_qs(urlsplit(acme_code).query)["code"][0]
    answer = await followed(browser, f"{BEGIN}/callback?code={quote(code)}&state={quote(state)}")
    assert (answer.status_code, await me(browser)) == (400, None)


@pytest.mark.parametrize("verified", [False, "true", None, 1])
@pytest.mark.parametrize("is_known", [False, True])
async def test_an_address_that_is_not_verified_does_not_count(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider, verified: object, *, is_known: bool
) -> None:
    if is_known:
        await with_password(world, await world.person("ada"))
    acme.has_user("ada", name="Ada", email="ada@commonweal.test", email_verified=verified)
    answer = await signed_in(browser, acme, "ada")
    assert (answer.status_code, await me(browser)) == (400, None)
    assert "password" not in answer.text
    assert await world.scalar("SELECT count(*) FROM identity") == 0


async def test_a_linked_identity_signs_in_whatever_its_address_is_now(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider
) -> None:
    await signed_in(browser, acme, "ada")
    browser.cookies.clear()
    acme.has_user("ada", email="bea@commonweal.test", email_verified=True)
    await world.person("bea")
    await signed_in(browser, acme, "ada")
    assert (await me(browser))["email"] == "ada@commonweal.test"


@pytest.mark.parametrize("how", ["archived_at = now()", "suspended"])
async def test_an_archived_or_suspended_person_stays_out(
    world: World, browser: httpx.AsyncClient, acme: OidcProvider, how: str
) -> None:
    await signed_in(browser, acme, "ada")
    browser.cookies.clear()
    async with world.sessions() as session, session.begin():
        if how == "suspended":
            sql = (
                "INSERT INTO suspension (id, user_id, by_id, reason)"
                " SELECT gen_random_uuid(), user_id, :admin, 'x' FROM identity"
            )
            await session.execute(text(sql), {"admin": world.admin.user.id})
        else:
            await session.execute(
                text(f"UPDATE collective SET {how} WHERE id = (SELECT user_id FROM identity)")
            )
    answer = await signed_in(browser, acme, "ada")
    assert (answer.status_code, await me(browser)) == (400, None)


@pytest.mark.parametrize(
    "next_path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", "/" + "x" * 500],
)
async def test_the_browser_is_sent_to_our_own_paths_alone(
    world: World, browser: httpx.AsyncClient, next_path: str
) -> None:
    answer = await browser.get(f"{BEGIN}?next={quote(next_path, safe='')}")
    assert answer.status_code == 400
    assert await world.scalar("SELECT count(*) FROM provider_sign_in") == 0


@pytest.mark.parametrize(
    "spoilt",
    [
        {"token": {"id_token": None}},
        {"token": {"id_token": "x.y.z"}},
        {"token": {"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."}},
        {"token": {"_bytes": 300_000}},
        {"token": {"access_token": "another"}},
    ],
)
async def test_answers_that_do_not_hold_sign_nobody_in(
    browser: httpx.AsyncClient, acme: OidcProvider, spoilt: dict[str, Any]
) -> None:
    page = await begun(browser)
    back = await asyncio.to_thread(acme.sign_in, page, "ada")
    acme.spoil(**spoilt)
    answer = await followed(browser, back)
    expected = 303 if spoilt == {"token": {"access_token": "another"}} and not has_at_hash(acme) else 400
    assert answer.status_code == expected
    assert "Traceback" not in answer.text


def has_at_hash(provider: OidcProvider) -> bool:
    body = provider.answer()["id_token"].split(".")[1]
    return "at_hash" in json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"token_endpoint": "http://example.org/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"_bytes": 300_000},
    ],
)
async def test_what_a_provider_publishes_is_checked(world: World, discovery: dict[str, Any]) -> None:
    with run_provider() as provider:
        provider.spoil(discovery=discovery)
        entry = {"name": "acme", "issuer": provider.issuer, "client_id": "c"}
        async with serving(replace(world.settings, oidc_providers=json.dumps([entry]))) as client:
            answer = await client.get(BEGIN)
            assert answer.status_code == 400
            assert "location" not in answer.headers


async def test_a_provider_that_is_away_is_said_to_be(world: World) -> None:
    entry = {"name": "acme", "issuer": "http://127.0.0.1:9", "client_id": "c"}
    async with serving(replace(world.settings, oidc_providers=json.dumps([entry]))) as client:
        answer = await client.get(BEGIN)
        assert answer.status_code == 400
        assert "cannot be reached" in answer.text
    assert await world.scalar("SELECT count(*) FROM provider_sign_in WHERE used_at IS NOT NULL") == 0


async def test_without_the_setting_no_provider_is_offered(world: World) -> None:
    query = "{ signInProviders { name label path } }"
    offered = (await world.query(query))["signInProviders"]
    assert offered[0] == {"name": "acme", "label": "Acme", "path": BEGIN}
    world.settings = replace(world.settings, oidc_providers="")
    assert (await world.query(query))["signInProviders"] == []
    async with serving(world.settings) as client:
        assert (await client.get(BEGIN)).status_code == 400


async def test_a_refusal_of_the_provider_is_shown(browser: httpx.AsyncClient) -> None:
    answer = await followed(browser, f"{BEGIN}/callback?error=access_denied&state=x")
    assert answer.status_code == 400
    assert "access_denied" not in answer.text


@pytest.mark.parametrize(
    "setting",
    [
        "{",
        "{}",
        '["x"]',
        '[{"name": "A", "issuer": "https://a.example", "client_id": "c"}]',
        '[{"name": "a", "issuer": "http://a.example", "client_id": "c"}]',
        '[{"name": "a", "issuer": "https://u:p@a.example", "client_id": "c"}]',
        '[{"name": "a", "issuer": "https://a.example"}]',
        '[{"name": "a", "issuer": "https://a.example", "client_id": "c", "clientsecret": "hidden"}]',
        '[{"name": "a", "issuer": "https://a.example", "client_id": "c"},'
        ' {"name": "a", "issuer": "https://b.example", "client_id": "c"}]',
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_OIDC_PROVIDERS") as caught:
        oidc_providers.parse(setting)
    assert "hidden" not in str(caught.value)
