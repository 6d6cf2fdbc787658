"""Documents by id: registered by clients, trusted from a manifest, cached by tag."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import pytest

from schema.server.app import create_application
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from tests.factories import World
from tests.schema.http.test_endpoint_requests import post, serving, signed, the_code

GRAPHQL = "application/graphql-response+json"
FEED = "query Feed($s: String!) { collective(slug: $s) { slug } }"
VIEWER = "{ me { slug } }"
LEAVE = "mutation { signOut { errors { code } } }"
COMMONWEAL = {"data": {"collective": {"slug": "commonweal"}}}


def hash_of(text: str) -> str:
    """Return a document's hash."""
    return sha256(text.encode()).hexdigest()


def apollo(text: str) -> dict[str, Any]:
    """Return the extensions that Apollo's clients send."""
    return {"persistedQuery": {"version": 1, "sha256Hash": hash_of(text)}}


async def get(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **arguments: str
) -> httpx.Response:
    """Send a GET without the header that requires a preflight."""
    return await client.get(f"/graphql?{urlencode(arguments)}", headers=headers)


@pytest.fixture
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server that knows no document yet."""
    async with serving(shared.settings) as client:
        yield client


def manifest(place: Path, content: object) -> str:
    """Write a manifest, and return where it is."""
    place.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return str(place)


# --- Automatic Persisted Queries ---


async def test_the_persisted_query_handshake_of_apollo_clients(client: httpx.AsyncClient) -> None:
    by_hash = {"extensions": apollo(FEED), "variables": {"s": "commonweal"}}
    for accept, status in (("application/json", 200), (GRAPHQL, 400)):
        unknown = await post(client, by_hash, Accept=accept)
        assert (unknown.status_code, the_code(unknown)) == (status, "PERSISTED_QUERY_NOT_FOUND")
        assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
        assert unknown.headers["cache-control"] == "no-store"
    assert (await post(client, by_hash | {"query": FEED})).json() == COMMONWEAL
    assert (await post(client, by_hash)).json() == COMMONWEAL
    extensions = orjson.dumps(apollo(FEED)).decode()
    by_get = await get(client, extensions=extensions, variables='{"s":"commonweal"}')
    assert (by_get.status_code, by_get.json()) == (200, COMMONWEAL)


async def test_a_hash_of_another_text_is_400_and_registers_nothing(client: httpx.AsyncClient) -> None:
    for accept in ("application/json", GRAPHQL):
        wrong = await post(client, {"query": VIEWER, "extensions": apollo(FEED)}, Accept=accept)
        assert (wrong.status_code, the_code(wrong)) == (400, "PERSISTED_QUERY_MISMATCH")
    for text in (FEED, VIEWER):
        answer = await post(client, {"extensions": apollo(text)})
        assert the_code(answer) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_document_that_cannot_run_is_not_registered(client: httpx.AsyncClient) -> None:
    assert the_code(await post(client, {"query": "{ no }", "extensions": apollo("{ no }")})) == "BAD_REQUEST"
    assert the_code(await post(client, {"extensions": apollo("{ no }")})) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_document_sent_without_its_hash_is_not_registered(client: httpx.AsyncClient) -> None:
    assert (await post(client, {"query": VIEWER})).status_code == 200
    assert the_code(await post(client, {"extensions": apollo(VIEWER)})) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "given",
    [
        1,
        [],
        "x",
        {},
        {"version": 1},
        {"version": 2, "sha256Hash": "0" * 64},
        {"version": True, "sha256Hash": "0" * 64},
        {"version": "1", "sha256Hash": "0" * 64},
        {"version": 1, "sha256Hash": "0" * 63},
        {"version": 1, "sha256Hash": "A" * 64},
        {"version": 1, "sha256Hash": 1},
        {"version": 1, "sha256Hash": "0" * 64 + "\n"},
    ],
)
async def test_a_malformed_persisted_query_is_400(client: httpx.AsyncClient, given: object) -> None:
    answer = await post(client, {"extensions": {"persistedQuery": given}})
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")


# --- documentId ---


async def test_a_document_id_in_the_body_and_in_the_address(client: httpx.AsyncClient) -> None:
    name = f"sha256:{hash_of(VIEWER)}"
    assert the_code(await post(client, {"documentId": name})) == "PERSISTED_QUERY_NOT_FOUND"
    assert (await post(client, {"documentId": name, "query": VIEWER})).json() == {"data": {"me": None}}
    assert (await post(client, {"documentId": name})).json() == {"data": {"me": None}}
    assert (await get(client, documentId=name)).json() == {"data": {"me": None}}
    wrong = await post(client, {"documentId": name, "query": FEED})
    assert (wrong.status_code, the_code(wrong)) == (400, "PERSISTED_QUERY_MISMATCH")
    two = await post(client, {"documentId": name, "extensions": apollo(FEED)})
    assert (two.status_code, the_code(two)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("name", [1, [], "", "a" * 201, "a\x00"])
async def test_a_malformed_document_id_is_400(client: httpx.AsyncClient, name: object) -> None:
    answer = await post(client, {"documentId": name})
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")


async def test_a_persisted_mutation_cannot_run_by_get(client: httpx.AsyncClient, shared: World) -> None:
    name = f"sha256:{hash_of(LEAVE)}"
    await post(client, {"documentId": name, "query": LEAVE})
    answer = await get(client, signed(shared.admin), documentId=name)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await post(client, {"query": VIEWER}, **signed(shared.admin))).json()["data"]["me"] is not None


# --- the tag of an answer ---


async def test_an_unchanged_response_is_304(client: httpx.AsyncClient, shared: World) -> None:
    name = f"sha256:{hash_of(VIEWER)}"
    await post(client, {"documentId": name, "query": VIEWER})
    first = await get(client, documentId=name)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, max-age=0, must-revalidate"
    assert first.headers["vary"] == "Accept, Authorization, Cookie"
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        same = await get(client, {"If-None-Match": known}, documentId=name)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert same.headers["cache-control"] == "private, max-age=0, must-revalidate"
        assert same.headers["vary"] == "Accept, Authorization, Cookie"
    for headers in (signed(shared.admin), {"Accept": GRAPHQL}, {"If-None-Match": '"other"'}):
        other = await get(client, {"If-None-Match": tag} | headers, documentId=name)
        assert other.status_code == 200
    assert (await get(client, signed(shared.admin), documentId=name)).headers["etag"] != tag


async def test_only_persisted_queries_without_errors_have_an_etag(client: httpx.AsyncClient) -> None:
    posted = await post(client, {"documentId": f"sha256:{hash_of(FEED)}", "query": FEED})
    lacking = await get(client, documentId=f"sha256:{hash_of(FEED)}")
    in_words = await get(client, {"Commonweal-Preflight": "1"}, query=VIEWER)
    for answer in (posted, lacking, in_words):
        assert "etag" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


# --- trusted documents ---


@pytest.fixture
def trusted(tmp_path: Path) -> str:
    folder = tmp_path / "documents"
    folder.mkdir()
    manifest(folder / "a.json", {"feed": FEED})
    manifest(folder / "b.json", {hash_of(LEAVE): LEAVE, f"sha256:{hash_of(LEAVE)}": LEAVE})
    (folder / "README").write_text("not a manifest")
    return str(folder)


async def test_trusted_documents_are_known_from_the_start(shared: World, trusted: str) -> None:
    async with serving(replace(shared.settings, trusted_documents=trusted)) as client:
        for name in ("feed", f"sha256:{hash_of(FEED)}"):
            answer = await get(client, documentId=name, variables='{"s":"commonweal"}')
            assert (answer.status_code, answer.json()) == (200, COMMONWEAL)
        both = {"documentId": "feed", "query": FEED, "variables": {"s": "commonweal"}}
        assert (await post(client, both)).json() == COMMONWEAL
        wrong = await post(client, both | {"query": VIEWER})
        assert (wrong.status_code, the_code(wrong)) == (400, "PERSISTED_QUERY_MISMATCH")
        assert (await post(client, {"query": VIEWER})).status_code == 200


async def test_only_trusted_documents_run_if_the_setting_says_so(shared: World, trusted: str) -> None:
    async with serving(replace(shared.settings, trusted_documents=trusted, trusted_only=True)) as client:
        variables = {"variables": {"s": "commonweal"}}
        for request in ({"documentId": "feed"}, {"query": FEED}, {"extensions": apollo(FEED)}):
            assert (await post(client, request | variables)).json() == COMMONWEAL
        other: list[dict[str, Any]] = [
            {"query": VIEWER},
            {"query": VIEWER, "extensions": apollo(VIEWER)},
            {"query": FEED + " "},
            {"extensions": apollo(VIEWER)},
            {"documentId": "none"},
            {"query": "{ __schema { types { name } } }"},
        ]
        for request in other:
            answer = await post(client, request)
            assert (answer.status_code, the_code(answer)) == (403, "DOCUMENT_NOT_TRUSTED")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        [],
        {"a": 1},
        {"": VIEWER},
        {"a": "{"},
        {"a": "{ nothing }"},
        {"0" * 64: VIEWER},
        {"sha256:" + "0" * 64: VIEWER},
        {"sha256:x": VIEWER},
        {"a" * 201: VIEWER},
    ],
)
def test_a_bad_manifest_stops_the_start(tmp_path: Path, content: object) -> None:
    place = manifest(tmp_path / "a.json", content)
    with pytest.raises(ConfigurationError, match=r"a\.json"):
        create_application(Settings(trusted_documents=place))


def test_one_id_for_two_documents_stops_the_start(tmp_path: Path) -> None:
    manifest(tmp_path / "a.json", {"x": VIEWER})
    manifest(tmp_path / "b.json", {"x": FEED})
    with pytest.raises(ConfigurationError, match="two documents"):
        create_application(Settings(trusted_documents=str(tmp_path)))


def test_an_empty_manifest_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_TRUSTED_DOCUMENTS"):
        create_application(Settings(trusted_only=True))
    with pytest.raises(ConfigurationError, match="COMMONWEAL_TRUSTED_DOCUMENTS"):
        create_application(Settings(trusted_only=True, trusted_documents=str(tmp_path)))
    with pytest.raises(ConfigurationError, match="none"):
        create_application(Settings(trusted_documents=str(tmp_path / "none.json")))
