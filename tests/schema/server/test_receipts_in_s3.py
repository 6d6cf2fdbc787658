"""Receipts in an S3 store: every path finds them; a store that fails costs one request and loses nothing."""

import asyncio
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from models import now
from services.access import actor as actors
from services.core import file_stores
from services.core.errors import ConfigurationError
from services.core.file_stores import FileMissing, FileStore, StoreUnavailable, WrongBytes
from services.core.settings import Settings
from services.jobs import retention
from services.operation import setting_diagnosis
from services.operation.findings import State
from services.orders import erased_files, personal_exports
from tests.factories import Person, World
from tests.s3_server import BUCKET, URL, S3Server, run_s3_server
from tests.schema.http.test_endpoint_requests import serving, signed, the_code
from tests.schema.server.test_receipt_files import PNG, sent, stored, upload_file

KEY = f"files/{sha256(PNG).hexdigest()[:2]}/{sha256(PNG).hexdigest()}"
FAILURES = ["silent", "broken", "chatty", "gone"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with run_s3_server(monkeypatch) as s3:
        yield s3


@pytest.fixture
def settings(world: World, s3: S3Server, tmp_path: Path) -> Settings:
    assert s3.names() == []
    return replace(world.settings, data_dir=tmp_path, receipts_store=URL, receipts_timeout_ms=500)


@pytest.fixture
def store(settings: Settings) -> FileStore:
    return file_stores.open_store(settings)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings) as client:
        yield client


@pytest.fixture
async def ada(world: World) -> Person:
    return await world.person("ada")


def fail(s3: S3Server, how: str) -> None:
    """Let the store fail in one of its ways."""
    if how == "gone":
        s3.client.delete_object(Bucket=BUCKET, Key=KEY)
        s3.client.delete_bucket(Bucket=BUCKET)
    else:
        s3.mode = how


def mend(s3: S3Server) -> None:
    s3.mode = "right"
    s3.released.set()
    s3.client.create_bucket(Bucket=BUCKET)  # in this region, one that exists is no error


async def test_an_upload_goes_there_and_comes_back_unchanged(
    client: httpx.AsyncClient, s3: S3Server, ada: Person, tmp_path: Path
) -> None:
    receipt = await upload_file(client, ada)
    assert s3.names() == [KEY]
    answer = await client.get(f"/receipts/{receipt}", headers=signed(ada))
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert stored(tmp_path) == [], "no copy stays"
    part = await client.get(f"/receipts/{receipt}", headers=signed(ada) | {"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, PNG[:4])


async def test_a_file_that_is_not_there_is_not_found(
    client: httpx.AsyncClient, s3: S3Server, ada: Person
) -> None:
    receipt = await upload_file(client, ada)
    s3.client.delete_object(Bucket=BUCKET, Key=KEY)
    assert (await client.get(f"/receipts/{receipt}", headers=signed(ada))).status_code == 404


@pytest.mark.parametrize("how", FAILURES)
async def test_an_upload_to_a_store_that_fails_is_refused_and_may_be_repeated(
    how: str, client: httpx.AsyncClient, s3: S3Server, world: World, ada: Person, tmp_path: Path
) -> None:
    fail(s3, how)
    answer = await sent(client, ada)
    assert (answer.status_code, the_code(answer)) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert "Try again" in answer.json()["errors"][0]["message"]
    assert await world.scalar("SELECT count(*) FROM receipt") == 0
    assert stored(tmp_path) == []
    mend(s3)
    await upload_file(client, ada)
    assert s3.names() == [KEY]


@pytest.mark.parametrize("how", FAILURES)
async def test_a_download_from_a_store_that_fails_is_refused_and_works_again(
    how: str, client: httpx.AsyncClient, s3: S3Server, ada: Person, tmp_path: Path
) -> None:
    receipt = await upload_file(client, ada)
    fail(s3, how)
    answer = await client.get(f"/receipts/{receipt}", headers=signed(ada))
    assert (answer.status_code, the_code(answer)) == (503, "UNAVAILABLE")
    assert stored(tmp_path) == []
    mend(s3)
    s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=PNG)
    assert (await client.get(f"/receipts/{receipt}", headers=signed(ada))).content == PNG


async def test_other_bytes_are_never_sent(client: httpx.AsyncClient, s3: S3Server, ada: Person) -> None:
    receipt = await upload_file(client, ada)
    s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=PNG + b"x")
    answer = await client.get(f"/receipts/{receipt}", headers=signed(ada))
    assert (answer.status_code, the_code(answer)) == (503, "UNAVAILABLE")


async def test_no_connection_is_held_while_the_store_is_silent(
    settings: Settings, s3: S3Server, world: World, ada: Person
) -> None:
    async with serving(replace(settings, pool_size=1, receipts_timeout_ms=20_000)) as client:
        s3.mode = "silent"
        uploading = asyncio.create_task(sent(client, ada))
        while not await world.scalar("SELECT count(*) FROM throttle"):
            await asyncio.sleep(0.01)
        for _ in range(3):
            answer = await client.post("/graphql", json={"query": "{ livePosition }"})
            assert "errors" not in answer.json()
        mend(s3)
        assert (await uploading).status_code == 201


async def test_files_of_erased_people_and_orphans_are_deleted(
    client: httpx.AsyncClient, s3: S3Server, store: FileStore, world: World, ada: Person, tmp_path: Path
) -> None:
    await upload_file(client, ada)
    s3.client.put_object(Bucket=BUCKET, Key=f"files/00/{'00' * 32}", Body=b"x")
    s3.client.put_object(Bucket=BUCKET, Key="files/notes", Body=b"somebody else's")
    elsewhere = f"files/of-others/11/{'11' * 32}"
    s3.client.put_object(Bucket=BUCKET, Key=elsewhere, Body=b"somebody else's")
    assert [file.name for file in await store.list_files()] == ["00" * 32, sha256(PNG).hexdigest()]
    assert await retention.delete_orphaned_files(world.sessions, files=store, folder=tmp_path, days=1) == 0
    assert await store.delete(["00" * 32], before=now() + timedelta(minutes=1)) == 1
    assert s3.names() == [KEY, "files/notes", elsewhere]
    async with world.sessions() as session, session.begin():
        assert await erased_files.delete_erased_files(session, files=store) == 0
    assert await store.delete(["00" * 32, sha256(PNG).hexdigest()]) == 2
    assert s3.names() == ["files/notes", elsewhere]


async def test_the_jobs_fail_and_change_nothing_while_the_store_is_away(
    client: httpx.AsyncClient, s3: S3Server, store: FileStore, world: World, ada: Person, tmp_path: Path
) -> None:
    await upload_file(client, ada)
    await world.scalar("SELECT 1")
    s3.mode = "broken"
    with pytest.raises(StoreUnavailable):
        await retention.delete_orphaned_files(world.sessions, files=store, folder=tmp_path, days=1)
    with pytest.raises(StoreUnavailable):
        await store.delete([sha256(PNG).hexdigest()])
    s3.mode = "right"
    assert s3.names() == [KEY]


async def test_a_copy_of_personal_data_has_the_files(
    client: httpx.AsyncClient, store: FileStore, world: World, ada: Person, tmp_path: Path
) -> None:
    receipt = await upload_file(client, ada)
    async with world.sessions() as session, session.begin():
        actor = await actors.load(session, token=ada.token)
        await personal_exports.request(session, actor)
    export_id = await world.scalar("SELECT id FROM data_export")
    async with world.sessions() as session, session.begin():
        await personal_exports.make(session, export_id=export_id, folder=tmp_path / "exports", files=store)
    (path,) = (tmp_path / "exports").iterdir()
    with zipfile.ZipFile(path) as archive:
        assert archive.read(f"files/{receipt}.png") == PNG


async def test_what_a_store_says_of_a_file(s3: S3Server, store: FileStore) -> None:
    with pytest.raises(FileMissing):
        async with store.opened("11" * 32):
            pass
    s3.client.put_object(Bucket=BUCKET, Key=f"files/11/{'11' * 32}", Body=b"other")
    with pytest.raises(WrongBytes):
        async with store.opened("11" * 32):
            pass


@pytest.mark.parametrize("how", ["right", *FAILURES])
async def test_the_doctor_tries_the_store(how: str, s3: S3Server, settings: Settings) -> None:
    fail(s3, how)
    finding = await asyncio.to_thread(setting_diagnosis.check_store, settings)
    if how == "right":
        assert finding.state is State.GOOD
        assert s3.names() == []
    else:
        assert finding.state is State.WRONG
        assert URL in finding.message
        assert "AWS_ENDPOINT_URL" in finding.message
    if how == "gone":
        mend(s3)


def test_without_the_extra_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.core.s3_files", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigurationError, match="extra `s3`"):
        file_stores.open_store(replace(Settings(), receipts_store=URL))


def test_a_store_that_is_no_bucket_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_RECEIPTS_STORE"):
        replace(Settings(), receipts_store="ftp://host/files")
