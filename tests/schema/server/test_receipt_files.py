"""Receipts over HTTP: accepted files, storage, and permissions to download."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from models.enums import MemberRole
from services.orders.receipts import MAX_BYTES
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, public_id, unused_id
from tests.offer_world import OfferScene
from tests.schema.http.test_endpoint_requests import serving, signed, the_code

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
FILES = {
    "image/jpeg": (b"\xff\xd8\xff\xe0 picture", ".jpg"),
    "image/png": (PNG, ".png"),
    "image/webp": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", ".webp"),
    "application/pdf": (b"%PDF-1.7 a bill", ".pdf"),
}


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(replace(world.settings, data_dir=tmp_path)) as client:
        yield client


async def sent(
    client: httpx.AsyncClient, by: Person | str | None, content: Any = PNG, kind: str = "image/png"
) -> httpx.Response:
    """Send a file."""
    headers = {"Content-Type": kind} | (signed(by) if by else {})
    return await client.post("/receipts", content=content, headers=headers)


async def upload_file(client: httpx.AsyncClient, by: Person) -> str:
    """Send a file; return its id."""
    answer = await sent(client, by)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def stored(folder: Path) -> list[Path]:
    """Return every file under the folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def seen_by(client: httpx.AsyncClient, receipt: str, people: dict[str, Person | None]) -> set[str]:
    """Return who of the people gets the receipt; for the others there is none."""
    seen = set()
    for name, person in people.items():
        answer = await client.get(f"/receipts/{receipt}", headers=signed(person) if person else {})
        assert answer.status_code in {200, 404}
        if answer.status_code == 200:
            assert answer.content == PNG
            seen.add(name)
        else:
            assert the_code(answer) == "NOT_FOUND"
    return seen


async def test_an_uploaded_file_is_downloaded_unchanged(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    john = await world.person("john")
    for kind in FILES:
        await goes_up_and_comes_down(client, john, tmp_path, kind)


async def goes_up_and_comes_down(client: httpx.AsyncClient, john: Person, folder: Path, kind: str) -> None:
    content, ending = FILES[kind]
    before = stored(folder)
    answer = await sent(client, john, content, f"{kind}; charset=binary")
    created = answer.json()
    assert answer.status_code == 201
    assert created == {"id": created["id"], "contentType": kind, "sizeBytes": len(content)}
    assert answer.headers["location"] == f"/receipts/{created['id']}"
    (path,) = set(stored(folder)) - set(before)
    assert path.parts[-3:-1] == ("receipts", path.name[:2])
    response = await client.get(f"/receipts/{created['id']}", headers=signed(john))
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"] == f'attachment; filename="{created["id"]}{ending}"'
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in response.headers["cache-control"]


async def test_equal_files_are_stored_once_and_belong_to_each_uploader(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    john, ann = await world.person("john"), await world.person("ann")
    ids = [await upload_file(client, person) for person in (john, john, ann)]
    assert len(set(ids)) == 3
    assert len(stored(tmp_path)) == 1
    assert await seen_by(client, ids[2], {"john": john, "ann": ann}) == {"ann"}


BAD = [
    (PNG, "image/gif", 415),
    (PNG, "", 415),
    (PNG, "image/jpeg", 415),
    (b"<html>", "image/png", 415),
    (b"RIFF1234WAVE", "image/webp", 415),
    (b" %PDF-1.7", "application/pdf", 415),
    (b"\x89PN", "image/png", 415),
    (b"", "image/png", 400),
    (PNG + bytes(MAX_BYTES), "image/png", 413),
]


async def test_a_file_that_is_not_a_receipt_is_refused_and_not_stored(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    john = await world.person("john")
    before = await world.fingerprint()
    for content, kind, status in BAD:
        answer = await sent(client, john, content, kind)
        assert (answer.status_code, the_code(answer)) == (status, "INVALID_INPUT"), (content[:9], kind)
    assert await world.fingerprint() == before
    assert stored(tmp_path) == []


async def test_an_oversized_upload_is_not_read_to_its_end(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    chunks = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal chunks
        yield PNG
        while chunks < 1000:
            chunks += 1
            yield bytes(1024 * 1024)

    answer = await sent(client, await world.person("john"), endless())
    assert (answer.status_code, stored(tmp_path)) == (413, [])
    assert chunks < 20


async def test_a_file_of_15_mb_is_accepted(world: World, client: httpx.AsyncClient) -> None:
    answer = await sent(client, await world.person("john"), PNG + bytes(MAX_BYTES - len(PNG)))
    assert (answer.status_code, answer.json()["sizeBytes"]) == (201, MAX_BYTES)


async def test_permissions_to_upload_and_download(world: World, client: httpx.AsyncClient) -> None:
    john = await world.person("john")
    receipt = await upload_file(client, john)
    for by, status, code in (
        (None, 401, "UNAUTHENTICATED"),
        ("wrong", 401, "UNAUTHENTICATED"),
        (await world.access_token(john, "READ"), 403, "FORBIDDEN"),
    ):
        answer = await sent(client, by)
        assert (answer.status_code, the_code(answer)) == (status, code)
    assert (await sent(client, await world.access_token(john, "ORDERS"))).status_code == 201
    reader, blind = await world.access_token(john, "READ"), await world.access_token(john, "ORDERS")
    for token, status in ((reader, 200), (blind, 403), ("wrong", 401)):
        answer = await client.get(f"/receipts/{receipt}", headers=signed(token))
        assert answer.status_code == status
    for unknown in (
        public_id("Receipt", unused_id()),
        public_id("Order", unused_id()),
        "rcp_x",
        "x",
        "..%2f..%2fx",
    ):
        assert (await client.get(f"/receipts/{unknown}", headers=signed(john))).status_code == 404


async def test_a_user_uploads_at_most_100_files_a_day(world: World, client: httpx.AsyncClient) -> None:
    john = await world.person("john")
    await upload_file(client, john)
    async with world.sessions() as session, session.begin():
        await session.execute(text("UPDATE throttle SET attempts = 99"))
    await upload_file(client, john)
    answer = await sent(client, john)
    assert (answer.status_code, the_code(answer)) == (429, "RATE_LIMITED")
    await upload_file(client, await world.person("ann"))


async def test_a_receipt_with_missing_bytes_is_not_found(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    john = await world.person("john")
    receipt = await upload_file(client, john)
    for path in stored(tmp_path):
        path.unlink()
    assert await seen_by(client, receipt, {"john": john}) == set()
    assert await seen_by(client, await upload_file(client, john), {"john": john}) == {"john"}


async def test_a_purchase_receipt_is_visible_to_the_user_and_the_business_admins(
    world: World, client: httpx.AsyncClient
) -> None:
    scene = await OfferScene.create(world)
    receipt = await upload_file(client, scene.john)
    people: dict[str, Person | None] = {
        "nobody": None,
        "john": scene.john,
        "mark": scene.mark,
        "ann": scene.ann,
        "stranger": await world.person("stranger"),
        "platform": world.admin,
        "accountant": await world.person("accountant"),
    }
    assert people["accountant"]
    await world.member(scene.cafe, people["accountant"], MemberRole.ACCOUNTANT)
    assert await seen_by(client, receipt, people) == {"john", "platform"}
    payload = await scene.redeem(await scene.offer(), receipt=receipt)
    order_id = expect_order(payload)
    assert payload["order"]["receiptText"] is None
    assert await seen_by(client, receipt, people) == {"john", "mark", "ann", "platform"}
    query = "query($i: ID!) { order(id: $i) { receipts } }"
    data = await world.query(query, by=scene.mark, i=order_id)
    assert data["order"]["receipts"] == [receipt]


async def test_a_receipt_of_another_user_cannot_be_attached(world: World, client: httpx.AsyncClient) -> None:
    scene, money_scene = await OfferScene.create(world), await DonationScene.create(world)
    receipt = await upload_file(client, await world.person("owner"))
    refused = await scene.redeem(await scene.offer(), receipt=receipt)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("NOT_FOUND", ["input", "receipt"])]
    await money_scene.expense("1.00", receipts=[receipt])
    people: dict[str, Person | None] = {"payee": money_scene.payee, "payer": money_scene.giver}
    assert await seen_by(client, receipt, people | {"john": scene.john}) == set()


async def test_an_expense_receipt_is_visible_to_the_payer_and_its_host(
    world: World, client: httpx.AsyncClient
) -> None:
    scene = await DonationScene.create(world)
    receipt = await upload_file(client, scene.payee)
    people: dict[str, Person | None] = {
        "nobody": None,
        "payee": scene.payee,
        "payer": scene.giver,
        "host": scene.holder,
        "friend": scene.friend,
        "platform": world.admin,
    }
    assert await seen_by(client, receipt, people) == {"payee", "platform"}
    await scene.expense("5.00", receipts=[receipt])
    assert await seen_by(client, receipt, people) == {"payee", "payer", "host", "platform"}


async def test_a_user_keeps_no_more_than_the_quota(world: World, tmp_path: Path) -> None:
    """Counted under a lock: of many at once, as many are kept as there is room for."""
    ann, bob = await world.person("ann"), await world.person("bob")
    content = PNG + b"x" * (400_000 - len(PNG))
    async with serving(replace(world.settings, data_dir=tmp_path, upload_quota_mb=1)) as client:
        answers = await asyncio.gather(*(sent(client, ann, content) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 413, 413, 413]
        (refused, *_) = [answer for answer in answers if answer.status_code == 413]
        assert the_code(refused) == "LIMIT_EXCEEDED"
        assert (await sent(client, bob, content)).status_code == 201
    assert not [path for path in stored(tmp_path) if path.name.startswith("incoming-")]
