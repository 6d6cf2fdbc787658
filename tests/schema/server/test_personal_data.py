"""A copy of a person's data: made by a job, mailed as a link, for that person alone and for a day."""

import codecs
import csv
import io
import json
import os
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Table, text
from sqlmodel import SQLModel

from services.jobs import schedule
from services.orders import personal_exports
from tests.factories import Person, World, ref
from tests.job_world import execute
from tests.schema.http.test_endpoint_requests import serving, signed
from tests.schema.server.test_receipt_files import PNG, sent


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = replace(world.settings, data_dir=tmp_path, outbox_interval_ms=3_600_000)
    async with serving(settings) as client:
        yield client


@pytest.fixture
async def bea(world: World) -> Person:
    return await world.person("bea")


async def ask(world: World, who: Person) -> list[str]:
    answer = await world.query("mutation { exportMyData { requestedAt errors { code } } }", by=who)
    return [error["code"] for error in answer["exportMyData"]["errors"]]


async def make_all(world: World, folder: Path) -> None:
    """Do the jobs that were queued for copies, as a worker does."""
    work = schedule.list_requested(world.sessions, replace(world.settings, data_dir=folder))
    for job in await execute(world.sessions, "DELETE FROM jobs.procrastinate_jobs RETURNING task_name, args"):
        await work[job.task_name](**job.args)


async def make(world: World, folder: Path, who: Person) -> str:
    """Make the copy; return the path in the mail."""
    await make_all(world, folder)
    sql = "SELECT payload ->> 'id' FROM outbox WHERE template = 'data_export' AND recipient = :e AND lane = 0"
    return f"/export/my-data/{await world.scalar(sql + ' ORDER BY created_at DESC LIMIT 1', e=who.email)}"


async def test_the_copy_holds_what_the_database_holds(
    world: World, client: httpx.AsyncClient, bea: Person, tmp_path: Path
) -> None:
    club = await world.community("club", None, bea)
    victim = await world.person("victim")
    invited = await world.mutate(
        "inviteMember", by=bea, collective=ref(club), email=victim.email, role="MEMBER"
    )
    assert invited["errors"] == []
    assert (await sent(client, bea)).status_code == 201
    assert await ask(world, bea) == []
    path = await make(world, tmp_path, bea)
    answer = await client.get(path, headers=signed(bea))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = archive.namelist()
    credential = json.loads(archive.read("json/credential.json"))
    assert [row["email"] for row in credential] == [bea.email]
    assert archive.read("csv/credential.csv").decode("utf-8-sig").splitlines()[0].startswith("user_id,email")
    for name in [name for name in names if name.startswith("csv/")]:
        content = archive.read(name)
        assert content.startswith(codecs.BOM_UTF8)
        read = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        assert len(read) == len(json.loads(archive.read(f"json/{name[4:-4]}.json")))
    assert {"json/collective.json", "json/member.json", "json/token.json", "json/act.json"} <= set(names)
    assert [archive.read(name) for name in names if name.startswith("files/")] == [PNG]
    everything = b"".join(archive.read(name) for name in names if name.startswith("json/")).decode()
    assert "hash" not in everything
    for secret in (bea.token, victim.email, str(victim.user.id), "secret"):
        assert secret not in everything


async def test_the_copy_does_not_say_from_where_others_acted(
    world: World, client: httpx.AsyncClient, bea: Person, tmp_path: Path
) -> None:
    chris = await world.person("chris")
    club = await world.community("club", None, chris)
    invited = await world.mutate("inviteMember", by=chris, collective=ref(club), user=ref(bea), role="MEMBER")
    assert invited["errors"] == []
    assert await ask(world, bea) == []
    answer = await client.get(await make(world, tmp_path, bea), headers=signed(bea))
    acts = json.loads(zipfile.ZipFile(io.BytesIO(answer.content)).read("json/act.json"))
    of_others = [act for act in acts if act["actor_id"] == str(chris.user.id)]
    assert of_others
    origin = ("network", "token_id", "token_kind", "database_role")
    assert {act[name] for act in of_others for name in origin} == {None}
    assert any(act["database_role"] for act in acts if act["actor_id"] == str(bea.user.id))


async def test_the_copies_of_an_erased_person_go_and_none_is_made(
    world: World, bea: Person, tmp_path: Path
) -> None:
    assert await ask(world, bea) == []
    await make(world, tmp_path, bea)
    assert await ask(world, bea) == []
    assert (await world.mutate("eraseMe", by=bea, slug=bea.slug))["errors"] == []
    await make_all(world, tmp_path)
    async with world.sessions() as session, session.begin():
        await personal_exports.delete_expired(session, folder=tmp_path / "exports")
    assert list((tmp_path / "exports").iterdir()) == []


async def test_nobody_else_and_no_token_gets_it(
    world: World, client: httpx.AsyncClient, bea: Person, tmp_path: Path
) -> None:
    await ask(world, bea)
    path = await make(world, tmp_path, bea)
    token = await world.access_token(bea, "READ", "COLLECTIVES")
    for headers in ({}, signed(await world.person("ann")), signed(world.admin), signed(token)):
        assert (await client.get(path, headers=headers)).status_code == 404
    assert await world.scalar("SELECT count(*) FROM data_export WHERE downloaded_at IS NOT NULL") == 0
    assert (await client.get("/export/my-data/nothing", headers=signed(bea))).status_code == 404


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_the_link_works_from_a_mail_that_is_read_in_a_browser(
    world: World, client: httpx.AsyncClient, bea: Person, tmp_path: Path, site: str
) -> None:
    await ask(world, bea)
    path = await make(world, tmp_path, bea)
    page = await client.get(path, headers={"Sec-Fetch-Site": site})  # as browsers do, without the cookie
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    again = re.search(r'url=([^"]*)"', page.text)
    assert again is not None
    own = {"Sec-Fetch-Site": "same-origin", "Cookie": f"commonweal_session={bea.token}"}
    answer = await client.get(path + unescape(again.group(1)), headers=own)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    stranger = await client.get(path + unescape(again.group(1)), headers={"Sec-Fetch-Site": site})
    assert stranger.status_code == 404  # and no page that asks for ever
    program = await client.get(path, headers=signed(bea) | {"Sec-Fetch-Site": site})
    assert program.status_code == 200


async def test_it_is_gone_after_a_day(
    world: World, client: httpx.AsyncClient, bea: Person, tmp_path: Path
) -> None:
    await ask(world, bea)
    path = await make(world, tmp_path, bea)
    assert (await client.get(path, headers=signed(bea))).status_code == 200
    async with world.sessions() as session, session.begin():
        past = "UPDATE data_export SET finished_at = finished_at - i, expires_at = expires_at - i"
        await session.execute(
            text(f"{past}, downloaded_at = NULL FROM (SELECT interval '25 hours' AS i) AS d")
        )
    assert (await client.get(path, headers=signed(bea))).status_code == 404
    left, made = (tmp_path / "exports" / f"{name}{personal_exports.PARTIAL}" for name in ("left", "made"))
    for partial in (left, made):
        partial.write_bytes(b"x")
    os.utime(left, (0, 0))
    async with world.sessions() as session, session.begin():
        await personal_exports.delete_expired(session, folder=tmp_path / "exports")
    assert list((tmp_path / "exports").iterdir()) == [made]


async def test_one_at_a_time_and_few_a_day(world: World, bea: Person, tmp_path: Path) -> None:
    for _ in range(3):
        assert await ask(world, bea) == []
        assert await ask(world, bea) == ["CONFLICT"]
        await make(world, tmp_path, bea)
    assert await ask(world, bea) == ["RATE_LIMITED"]


def test_every_table_is_in_the_copy_or_said_to_hold_nothing_personal() -> None:
    tables = {table.name for table in personal_exports.tables()}
    assert tables | personal_exports.NOT_PERSONAL == set(SQLModel.metadata.tables)
    assert tables & personal_exports.NOT_PERSONAL == set()


@pytest.mark.parametrize("table", personal_exports.tables(), ids=lambda table: str(table.name))
def test_every_table_says_how_its_rows_name_a_person(table: Table) -> None:
    assert personal_exports.names_people(table)
