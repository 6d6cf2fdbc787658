"""Receipts in an S3 store: every path finds them; a store that fails costs one request and loses nothing."""

import asyncio
import sys
import zipfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models import now
from services.access import actor as actors
from services.core import file_stores
from services.core.errors import ConfigurationError
from services.core.file_stores import FileMissing, FileStore, StoreUnavailable, WrongBytes
from services.core.settings import Settings
from services.database import engine as database_engine
from services.jobs import retention
from services.operation import setting_diagnosis
from services.operation.findings import State
from services.orders import erased_files, export_making, personal_exports
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
    several = ["00" * 32, *(f"{number:064x}" for number in range(1, 120))]
    assert await store.delete(several, before=now() + timedelta(minutes=1)) == 1
    assert s3.names() == [KEY, "files/notes", elsewhere]
    assert await erased_files.delete_erased_files(world.sessions, files=store) == 0
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


async def ask_for_a_copy(world: World, who: Person) -> UUID:
    async with world.sessions() as session, session.begin():
        return (await personal_exports.request(session, await actors.load(session, token=who.token))).id


async def test_a_copy_of_personal_data_has_the_files_and_names_those_that_are_damaged(
    client: httpx.AsyncClient, s3: S3Server, store: FileStore, world: World, ada: Person, tmp_path: Path
) -> None:
    receipt = await upload_file(client, ada)
    for is_damaged in (False, True):
        if is_damaged:
            s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"other")
        export_id = await ask_for_a_copy(world, ada)
        await export_making.make(
            world.sessions, export_id=export_id, folder=tmp_path / "exports", files=store
        )
        with zipfile.ZipFile(tmp_path / "exports" / f"{export_id.hex}.zip") as archive:
            files = {name: archive.read(name) for name in archive.namelist() if name.startswith("files/")}
        if is_damaged:
            assert list(files) == [export_making.LEFT_OUT]
            assert f"\n{receipt}.png\n" in files[export_making.LEFT_OUT].decode()
        else:
            assert files == {f"files/{receipt}.png": PNG}
    assert [path.suffix for path in (tmp_path / "exports").iterdir()] == [".zip", ".zip"]


async def test_a_copy_that_fails_leaves_nothing_and_is_made_later(
    client: httpx.AsyncClient, s3: S3Server, store: FileStore, world: World, ada: Person, tmp_path: Path
) -> None:
    await upload_file(client, ada)
    export_id, folder = await ask_for_a_copy(world, ada), tmp_path / "exports"
    s3.mode = "broken"
    with pytest.raises(StoreUnavailable):
        await export_making.make(world.sessions, export_id=export_id, folder=folder, files=store)
    assert list(folder.iterdir()) == []
    s3.mode = "right"
    for _ in range(2):  # the second finds it done
        await export_making.make(world.sessions, export_id=export_id, folder=folder, files=store)
    assert [path.name for path in folder.iterdir()] == [f"{export_id.hex}.zip"]
    assert await world.scalar("SELECT count(*) FROM outbox WHERE template = 'data_export'") == 1


@pytest.mark.parametrize("job", ["make_export", "delete_erased_files"])
async def test_jobs_hold_no_connection_while_the_store_is_silent(
    job: str, settings: Settings, s3: S3Server, world: World, ada: Person, tmp_path: Path
) -> None:
    slow = replace(settings, receipts_timeout_ms=20_000, pool_size=1)
    async with serving(slow) as client:
        await upload_file(client, ada)
    engine, store = database_engine.create_pool(slow), file_stores.open_store(slow)
    sessions, folder = database_engine.session_factory(engine), tmp_path / "exports"
    if job == "make_export":
        export_id = await ask_for_a_copy(world, ada)
        work: Coroutine[Any, Any, object] = export_making.make(
            sessions, export_id=export_id, folder=folder, files=store
        )
    else:
        await erase_an_hour_ago(world, ada)
        work = erased_files.delete_erased_files(sessions, files=store)
    s3.mode = "silent"
    working = asyncio.create_task(work)
    try:
        assert await asyncio.to_thread(s3.asked.wait, 20)
        async with sessions() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
        assert not working.done()
    finally:
        mend(s3)
        await working
        await engine.dispose()
    if job == "make_export":
        assert [path.suffix for path in folder.iterdir()] == [".zip"]
    else:
        assert await world.scalar("SELECT count(*) FROM receipt WHERE erased_at IS NOT NULL") == 1


async def erase_an_hour_ago(world: World, who: Person) -> None:
    assert (await world.mutate("eraseMe", by=who, slug=who.slug))["errors"] == []
    async with world.sessions() as session, session.begin():
        past = "UPDATE collective SET erased_at = erased_at - interval '1 hour' WHERE id = :id"
        await session.execute(text(past), {"id": who.user.id})


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


async def test_the_doctor_leaves_the_servers_folder_as_it_is_and_names_it(
    settings: Settings, tmp_path: Path
) -> None:
    assert (await asyncio.to_thread(setting_diagnosis.check_store, settings)).state is State.GOOD
    assert stored(tmp_path) == []
    assert not (tmp_path / file_stores.FOLDER).exists()
    (tmp_path / file_stores.FOLDER).write_text("a file")
    finding = await asyncio.to_thread(setting_diagnosis.check_store, settings)
    assert (finding.state, str(tmp_path) in finding.message) == (State.WRONG, True)
    assert "AWS" not in finding.message


def test_without_the_extra_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.core.s3_files", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigurationError, match="extra `s3`"):
        file_stores.open_store(replace(Settings(), receipts_store=URL))


def test_a_store_that_is_no_bucket_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_RECEIPTS_STORE"):
        replace(Settings(), receipts_store="ftp://host/files")
