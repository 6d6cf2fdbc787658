"""A browser's session in a cookie: how it is set and cleared, and whose pages it counts for."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from models import Token, now
from models.enums import TokenKind
from schema.documents import document_cache
from schema.http import authentication as http_authentication
from services.access.actor import hash_token
from services.identity import passwords
from tests.factories import Person, World, public_id, unused_id
from tests.schema.http.test_endpoint_requests import post, serving, signed, the_code

NAME = "commonweal_session"
PASSWORD = "correct horse"
WISH = {"Commonweal-Cookie": "1"}
GOOD, EVIL = "https://app.example.org", "https://evil.example"
SIGN_IN = """mutation($i: SignInInput!) {
  signIn(input: $i) { user { slug } session { token expiresAt } errors { code } }
}"""
SIGN_OUT = {"query": "mutation { signOut { user { slug } errors { code } } }"}
A_RECEIPT = f"/receipts/{public_id('Receipt', unused_id())}"
ME = {"query": "{ me { slug } }"}


@pytest.fixture(scope="module")
async def ada(shared: World) -> Person:
    """A user with a password."""
    return await with_password(shared, "ada")


@pytest.fixture
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(
        replace(shared.settings, allowed_origins=f"{GOOD}, http://other.example:3000")
    ) as result:
        yield result


async def with_password(world: World, slug: str) -> Person:
    person = await world.person(slug)
    password_hash = await passwords.hash_password(PASSWORD)
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE credential SET password_hash = :h WHERE user_id = :u"),
            {"h": password_hash, "u": person.user.id},
        )
    return person


def sign_in_body(person: Person, password: str = PASSWORD) -> dict[str, Any]:
    return {"query": SIGN_IN, "variables": {"i": {"email": person.email, "password": password}}}


async def sign_in(client: httpx.AsyncClient, person: Person, **headers: str) -> httpx.Response:
    return await post(client, sign_in_body(person), **WISH, **headers)


async def kept(
    world: World, person: Person, *, seconds: int = 60, is_revoked: bool = False
) -> dict[str, str]:
    """Return the header with the cookie of a session, which no try of a sign-in was spent on."""
    token = f"cws_{secrets.token_urlsafe(16)}"
    await world.add(
        Token(
            user_id=person.user.id,
            kind=TokenKind.SESSION,
            token_hash=hash_token(token),
            expires_at=now() + timedelta(seconds=seconds),
            revoked_at=now() if is_revoked else None,
        )
    )
    return {"Cookie": f"{NAME}={token}"}


def the_cookie(answer: httpx.Response) -> Morsel[str]:
    """Return the only session cookie that an answer sets."""
    (header,) = [header for header in answer.headers.get_list("set-cookie") if NAME in header]
    (morsel,) = SimpleCookie(header).values()
    return morsel


def is_cleared(answer: httpx.Response) -> bool:
    return "set-cookie" in answer.headers and the_cookie(answer)["max-age"] == "0"


# --- set, used and cleared ---


async def test_a_sign_in_with_the_header_keeps_the_token_from_scripts(
    client: httpx.AsyncClient, ada: Person
) -> None:
    answer = await sign_in(client, ada)
    cookie, session = the_cookie(answer), answer.json()["data"]["signIn"]["session"]
    assert session["token"] == ""
    assert session["expiresAt"]
    assert cookie.value.startswith("cws_")
    assert cookie.value not in answer.text
    assert (cookie.key, cookie["path"], cookie["domain"]) == (NAME, "/", "")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "strict", "")
    assert 29 * 86400 < int(cookie["max-age"]) <= 30 * 86400
    assert (await post(client, ME)).json() == {"data": {"me": {"slug": "ada"}}}


async def test_over_https_the_cookie_has_the_host_prefix(shared: World, ada: Person) -> None:
    settings = replace(shared.settings, public_url="https://api.example.org")
    async with serving(settings) as client:
        answer = await sign_in(client, ada)
        cookie = the_cookie(answer)
        assert (cookie.key, cookie["path"], cookie["domain"]) == (f"__Host-{NAME}", "/", "")
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "strict", True)
        header = {"Cookie": f"{cookie.key}={cookie.value}"}
        ours = await post(client, ME, **header, Origin="https://api.example.org")
        assert ours.json() == {"data": {"me": {"slug": "ada"}}}
        plain = await post(client, ME, Cookie=f"{NAME}={cookie.value}")
        assert plain.json() == {"data": {"me": None}}, "a sibling host could have set this one"
        out = the_cookie(await post(client, SIGN_OUT, **header))
        assert (out.key, out["secure"], out["max-age"]) == (f"__Host-{NAME}", True, "0")


async def test_without_the_header_there_is_no_cookie(client: httpx.AsyncClient, ada: Person) -> None:
    answer = await post(client, sign_in_body(ada))
    assert answer.json()["data"]["signIn"]["session"]["token"].startswith("cws_")
    assert "set-cookie" not in answer.headers


async def test_a_wrong_password_sets_no_cookie_and_counts_as_an_attempt(
    client: httpx.AsyncClient, shared: World
) -> None:
    eve = await with_password(shared, "eve")
    for tries in range(11):
        answer = await post(client, sign_in_body(eve, "wrong"), **WISH)
        (error,) = answer.json()["data"]["signIn"]["errors"]
        assert error["code"] == ("INVALID_INPUT" if tries < 10 else "RATE_LIMITED")
        assert "set-cookie" not in answer.headers
    right = await sign_in(client, eve)
    assert right.json()["data"]["signIn"]["errors"] == [{"code": "RATE_LIMITED"}]
    assert "set-cookie" not in right.headers


async def test_signing_out_ends_the_session_and_clears_the_cookie(
    client: httpx.AsyncClient, shared: World, ada: Person
) -> None:
    header = await kept(shared, ada)
    out = await post(client, SIGN_OUT, **header)
    assert out.json()["data"]["signOut"] == {"user": {"slug": "ada"}, "errors": []}
    assert is_cleared(out)
    again = await post(client, ME, **header)
    assert (again.status_code, the_code(again), is_cleared(again)) == (401, "UNAUTHENTICATED", True)


@pytest.mark.parametrize("over", [{"seconds": -1}, {"is_revoked": True}], ids=str)
async def test_an_expired_session_clears_the_cookie_on_every_path(
    client: httpx.AsyncClient, shared: World, ada: Person, over: dict[str, Any]
) -> None:
    header = await kept(shared, ada, **over)
    for answer in (
        await post(client, ME, **header),
        await client.get(A_RECEIPT, headers=header),
        await client.get("/export/hours.csv?nonprofit=x&from=2024-01-01&until=2024-01-01", headers=header),
        await client.post("/receipts", content=b"x", headers=header | {"Content-Type": "image/png"}),
    ):
        assert (answer.status_code, the_code(answer), is_cleared(answer)) == (401, "UNAUTHENTICATED", True)


async def test_an_expired_cookie_does_not_prevent_a_new_sign_in(
    client: httpx.AsyncClient, ada: Person
) -> None:
    stale = {"Cookie": f"{NAME}=cws_gone"}
    answer = await sign_in(client, ada, **stale)
    assert answer.json()["data"]["signIn"]["errors"] == []
    assert the_cookie(answer).value.startswith("cws_")
    client.cookies.clear()
    wrong = await post(client, sign_in_body(ada, "wrong"), **WISH, **stale)
    assert (wrong.json()["data"]["signIn"]["errors"], is_cleared(wrong)) == (
        [{"code": "INVALID_INPUT"}],
        True,
    )


async def test_a_bearer_token_takes_precedence_over_the_cookie(
    client: httpx.AsyncClient, shared: World, ada: Person
) -> None:
    header = await kept(shared, ada)
    both = await post(client, ME, **header, **signed(shared.admin))
    assert both.json() == {"data": {"me": {"slug": "platform-admin"}}}
    bad = await post(client, ME, **header, Authorization="Bearer cws_unknown")
    assert (bad.status_code, "set-cookie" in bad.headers) == (401, False)
    bob = await with_password(shared, "bob")
    out = await post(client, SIGN_OUT, **header, **signed(bob))
    assert (out.json()["data"]["signOut"]["user"], "set-cookie" in out.headers) == ({"slug": "bob"}, False)
    assert (await post(client, ME, **header)).json() == {"data": {"me": {"slug": "ada"}}}


# --- whose pages it counts for ---

REFUSED = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://here:81"},
    {"Origin": "http://here.evil"},
    {"Origin": "https://here"},
    {"Origin": "http://app.example.org"},
    {"Origin": f"{GOOD}:444"},
    {"Origin": f"{GOOD}.evil.example"},
    {"Origin": f"{GOOD}/"},
    {"Origin": "http://xhere"},
    {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "odd"},
    {"Origin": EVIL, "X-Forwarded-Host": "evil.example"},
]
TAKEN = [
    {},
    {"Origin": "http://here"},
    {"Origin": GOOD},
    {"Origin": GOOD, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://other.example:3000"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.mark.parametrize("page", REFUSED, ids=str)
async def test_a_cookie_from_another_origin_is_refused(
    client: httpx.AsyncClient, shared: World, ada: Person, page: dict[str, str]
) -> None:
    header = await kept(shared, ada) | page
    query = documents_by_get(ME["query"])
    for answer in (
        await post(client, ME, **header),
        await post(client, SIGN_OUT, **header),
        await client.get(query, headers=header | {"Commonweal-Preflight": "1"}),
        await client.get(A_RECEIPT, headers=header),
        await client.post("/receipts", content=b"x", headers=header | {"Content-Type": "image/png"}),
        await client.get("/export/hours.csv?nonprofit=x&from=2024-01-01&until=2024-01-01", headers=header),
    ):
        assert (answer.status_code, the_code(answer)) == (403, http_authentication.ORIGIN_NOT_ALLOWED)
        assert "set-cookie" not in answer.headers, "another page cannot sign anybody out"
        assert "access-control-allow-origin" not in answer.headers
    still = await post(client, ME, Cookie=header["Cookie"])
    assert still.json() == {"data": {"me": {"slug": "ada"}}}


def documents_by_get(query: str) -> str:
    return str(httpx.URL("/graphql", params={"query": query}))


@pytest.mark.parametrize("page", TAKEN, ids=str)
async def test_a_cookie_from_own_and_allowed_origins_is_accepted(
    client: httpx.AsyncClient, shared: World, ada: Person, page: dict[str, str]
) -> None:
    header = await kept(shared, ada) | page
    assert (await post(client, ME, **header)).json() == {"data": {"me": {"slug": "ada"}}}


@pytest.mark.parametrize("page", REFUSED, ids=str)
async def test_a_page_from_another_origin_cannot_sign_in(
    client: httpx.AsyncClient, ada: Person, page: dict[str, str]
) -> None:
    answer = await sign_in(client, ada, **page)
    assert (answer.status_code, the_code(answer)) == (403, http_authentication.ORIGIN_NOT_ALLOWED)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_a_form_with_a_cookie_is_415(
    client: httpx.AsyncClient, shared: World, ada: Person, kind: str
) -> None:
    header = await kept(shared, ada)
    body = b'{"query": "mutation { signOut { errors { code } } }"}'
    answer = await client.post("/graphql", content=body, headers=header | {"Content-Type": kind})
    assert (answer.status_code, the_code(answer)) == (415, "BAD_REQUEST")
    assert (await post(client, ME, **header)).json() == {"data": {"me": {"slug": "ada"}}}


async def test_a_get_with_a_cookie_needs_a_persisted_document_or_the_header(
    client: httpx.AsyncClient, shared: World, ada: Person
) -> None:
    header = await kept(shared, ada)
    words = documents_by_get(ME["query"])
    bare = await client.get(words, headers=header)
    assert (bare.status_code, the_code(bare)) == (400, "PREFLIGHT_REQUIRED")
    assert (await client.get(words, headers=header | {"Commonweal-Preflight": "1"})).json() == {
        "data": {"me": {"slug": "ada"}}
    }
    by_id = f"sha256:{document_cache.hash_text(ME['query'])}"
    await post(client, ME | {"documentId": by_id}, **header)
    persisted = f"/graphql?documentId={by_id}"
    answer = await client.get(persisted, headers=header | {"Sec-Fetch-Site": "same-origin"})
    assert (answer.json(), answer.headers["vary"]) == (
        {"data": {"me": {"slug": "ada"}}},
        "Accept, Authorization, Cookie, Origin",
    )
    other = await client.get(persisted, headers=header | {"Sec-Fetch-Site": "cross-site"})
    assert (other.status_code, the_code(other)) == (403, http_authentication.ORIGIN_NOT_ALLOWED)


async def test_requests_without_a_cookie_need_no_origin(client: httpx.AsyncClient, shared: World) -> None:
    anonymous = await post(client, ME, Origin=EVIL)
    assert (anonymous.json(), "access-control-allow-origin" in anonymous.headers) == (
        {"data": {"me": None}},
        False,
    )
    bearer = await post(client, ME, Origin=EVIL, **signed(shared.admin))
    assert bearer.json() == {"data": {"me": {"slug": "platform-admin"}}}


async def test_file_downloads_follow_the_same_cookie_rules(
    client: httpx.AsyncClient, shared: World, ada: Person
) -> None:
    header = await kept(shared, ada)
    picture = b"\x89PNG\r\n\x1a\n" + b"picture"
    sent = await client.post("/receipts", content=picture, headers=header | {"Content-Type": "image/png"})
    assert sent.status_code == 201
    place = sent.headers["location"]
    own = await client.get(place, headers=header | {"Sec-Fetch-Site": "same-origin"})
    assert (own.status_code, own.content) == (200, picture)
    assert (await client.get(place)).status_code == 404
    for page in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": EVIL}):
        other = await client.get(place, headers=header | page)
        assert (other.status_code, the_code(other)) == (403, http_authentication.ORIGIN_NOT_ALLOWED)
    csv = "/export/hours.csv?nonprofit=commonweal&from=2024-01-01&until=2024-01-01"
    assert the_code(await client.get(csv, headers=header)) == "FORBIDDEN"
    assert the_code(await client.get(csv)) == "UNAUTHENTICATED"
