"""Backup, restore, verify and doctor on real servers, and what they refuse."""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from models import Receipt, new_id
from schema.__main__ import main
from services.database import engine as database_engine
from services.operation import archives, postgres_tools
from tests import debian_server as servers
from tests.conftest import Database, Server, create_database, drop_database
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.s3_server import BUCKET, URL, run_s3_server

Run = Callable[..., tuple[int, Any, str]]
FIGURES = """SELECT
    (SELECT md5(string_agg(p::text, '|' ORDER BY p.book_id, p.account_id, p.seq)) FROM posting p),
    (SELECT md5(string_agg(o::text, '|' ORDER BY o.id)) FROM "order" o),
    (SELECT md5(string_agg(a::text, '|' ORDER BY a.id)) FROM ledger_account a)"""


def require_programs(server: Server) -> None:
    """Skip, and fail in CI, without pg_dump of this server's version."""
    with psycopg.connect(server.url) as connection:
        major = connection.info.server_version // 10_000
    if not [tools for tools in postgres_tools.find_all() if tools.major >= major]:
        assert not os.environ.get("CI"), "pg_dump is not installed"
        pytest.skip(f"SKIPPED LOUDLY: no pg_dump of PostgreSQL {major} is installed")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Server, tmp_path: Path
) -> Run:
    """Return a runner of a command with --json: exit code, what was printed, and errors."""
    require_programs(server)

    def run(database: Database, *arguments: str | Path, **settings: str) -> tuple[int, Any, str]:
        values = {
            "database_url": database.app_url,
            "owner_database_url": database.owner_url,
            "data_dir": str(tmp_path / "data"),
        }
        for name, value in (values | settings).items():
            monkeypatch.setenv(f"COMMONWEAL_{name.upper()}", value)
        capsys.readouterr()
        code = main([*map(str, arguments), "--json"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else None, shown.err

    return run


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    """Return a database without tables."""
    database = create_database(server)
    yield database
    drop_database(server, database.name)


async def add_receipt(world: World, folder: Path) -> Path:
    """Store an uploaded file and its row; return its path."""
    content = b"%PDF-1.7 a receipt"
    digest = hashlib.sha256(content)
    path = folder / "receipts" / digest.hexdigest()[:2] / digest.hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    owner = await world.person("uploader")
    await world.add(
        Receipt(
            owner_id=owner.user.id,
            content_type="application/pdf",
            size_bytes=len(content),
            sha256=digest.digest(),
        )
    )
    return path


def figures(database: Database) -> tuple[Any, ...] | None:
    """Return the hashes of what the ledger and the orders hold."""
    with psycopg.connect(database.owner_url) as connection:
        return connection.execute(FIGURES.encode()).fetchone()


async def test_a_backup_is_restored_with_files_and_goes_on(
    world: World,
    database: Database,
    empty: Database,
    run: Run,
    tmp_path: Path,
) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.transfer("1.00"))
    file = await add_receipt(world, tmp_path / "data")
    path = tmp_path / "one.backup"

    code, made, errors = await in_thread(run, database, "backup", path)
    assert (code, errors) == (0, "")
    assert (made["files"], made["sizeBytes"]) == (1, path.stat().st_size)
    code, checked, _ = await in_thread(run, database, "verify", path)
    assert (code, checked["entries"]) == (0, 2)

    target = tmp_path / "restored"
    code, restored, errors = await in_thread(run, empty, "restore", path, data_dir=str(target))
    assert (code, errors) == (0, "")
    assert restored["verification"]["isClean"]
    assert restored["verification"]["audit"]["isFull"]
    assert restored["files"] == 1
    assert (target / file.relative_to(tmp_path / "data")).read_bytes() == file.read_bytes()
    assert figures(empty) == figures(database)

    engine = database_engine.create_pool(empty.settings)
    async with engine.begin() as connection:  # the rights came along
        with pytest.raises(Exception, match="permission denied"):
            await connection.exec_driver_sql("INSERT INTO posting DEFAULT VALUES")
    await engine.dispose()
    with psycopg.connect(empty.owner_url) as connection:  # no number of a transaction comes again
        assert connection.execute("SELECT DISTINCT xid FROM transaction").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM live_event").fetchone() == (0,)
    assert (await in_thread(run, empty, "verify", data_dir=str(target)))[0] == 0

    # What is full is refused, and left as it is.
    before = figures(empty)
    code, _, errors = await in_thread(run, empty, "restore", path, data_dir=str(tmp_path / "third"))
    assert (code, "is not empty" in errors) == (1, True)
    assert figures(empty) == before


async def in_thread(run: Run, *arguments: Any, **settings: str) -> tuple[int, Any, str]:
    """Run a command in a thread, because commands have event loops of their own."""
    return await asyncio.to_thread(run, *arguments, **settings)


async def test_files_in_s3_are_backed_up_verified_and_restored(
    world: World,
    database: Database,
    empty: Database,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, path = await add_receipt(world, tmp_path / "elsewhere"), tmp_path / "one.backup"
    key = f"{file.parent.name}/{file.name}"
    with run_s3_server(monkeypatch) as s3:
        s3.client.put_object(Bucket=BUCKET, Key=f"files/{key}", Body=file.read_bytes())
        code, made, errors = await in_thread(run, database, "backup", path, receipts_store=URL)
        assert (code, errors, made["files"]) == (0, "", 1)
        assert (await in_thread(run, database, "verify"))[0] == 0
        other = f"s3://{BUCKET}/restored"
        code, restored, errors = await in_thread(run, empty, "restore", path, receipts_store=other)
        assert (code, errors, restored["files"]) == (0, "", 1)
        assert s3.names() == [f"files/{key}", f"restored/{key}"]
        s3.client.put_object(Bucket=BUCKET, Key=f"restored/{key}", Body=b"other")
        code, found, _ = await in_thread(run, empty, "verify")
        assert (code, found["damagedFiles"]) == (1, [f"{file.name} has other bytes"])
        s3.client.put_object(Bucket=BUCKET, Key=f"files/{key}", Body=b"other")
        two = tmp_path / "two.backup"
        code, made, _ = await in_thread(run, database, "backup", two, receipts_store=URL)
        assert (code, made["leftOut"], made["files"]) == (4, [file.name], 0)
        assert (await in_thread(run, database, "verify", two))[0] == 0
        s3.mode = "broken"
        code, _, errors = await in_thread(run, database, "backup", tmp_path / "three.backup")
        assert code == 1
        assert "not available" in errors
        assert not (tmp_path / "three.backup").exists()


def test_what_cannot_be_restored_is_refused_before_anything_is_written(
    database: Database, empty: Database, run: Run, tmp_path: Path
) -> None:
    path, cut, newer = (tmp_path / f"{name}.backup" for name in ("whole", "cut", "newer"))
    assert run(database, "backup", path)[0] == 0
    cut.write_bytes(path.read_bytes()[:-20_000])
    code, _, errors = run(empty, "restore", cut)
    assert (code, "cut short" in errors or "no whole backup" in errors) == (1, True), errors

    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_later'")
    assert run(database, "backup", newer)[0] == 0
    code, _, errors = run(empty, "restore", newer)
    assert (code, "newer version of Commonweal (revision 9999_later)" in errors) == (1, True)

    code, _, errors = run(database, "backup", path)
    assert (code, "nothing is overwritten" in errors) == (1, True)
    code, _, errors = run(empty, "backup", tmp_path / "none.backup")
    assert (code, "database is empty" in errors) == (1, True)
    assert sorted(each.name for each in tmp_path.glob("*.backup*")) == sorted(
        each.name for each in (path, cut, newer)
    )
    code, _, errors = run(empty, "restore", tmp_path / "missing.backup")
    assert (code, "No such file" in errors) == (1, True)
    with psycopg.connect(empty.owner_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)


def test_the_role_is_made_where_it_is_missing(
    database: Database, run: Run, tmp_path: Path, debian_server: str
) -> None:
    """On a server that has never seen the application, with another owner than the first server's."""
    path = tmp_path / "one.backup"
    assert run(database, "backup", path)[0] == 0
    archive = archives.extract_archive(path, tmp_path / "looked-at")
    with psycopg.connect(debian_server, autocommit=True) as connection:
        connection.execute("CREATE ROLE keeper LOGIN CREATEROLE")
        connection.execute("CREATE DATABASE moved OWNER keeper")
        major = connection.info.server_version // 10_000
        url = debian_server.replace("postgres@/postgres", "{}@/moved")
    target = Database("moved", url.format("keeper"), url.format("commonweal_app"))
    code, restored, errors = run(target, "restore", path, data_dir=str(tmp_path / "there"))
    if archive.postgresql > major:
        assert (code, "this server is 15" in errors) == (1, True)
        return
    assert (code, errors) == (0, "")
    assert restored["verification"]["isClean"]


@pytest.fixture
def debian_server() -> Iterator[str]:
    """Return the owner's URL of a new server of Debian's PostgreSQL."""
    if not (servers.BINARIES / "initdb").exists():
        assert not os.environ.get("CI"), "Debian's PostgreSQL 15 is not installed"
        pytest.skip("SKIPPED LOUDLY: Debian's PostgreSQL 15 is not installed")
    with servers.run_server() as url:
        yield url


async def test_verify_finds_damage(
    world: World,
    database: Database,
    run: Run,
    tmp_path: Path,
) -> None:
    file = await add_receipt(world, tmp_path / "data")
    assert (await in_thread(run, database, "verify"))[0] == 0
    file.write_bytes(b"other")
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("ALTER TABLE posting DISABLE TRIGGER posting_guard")
    code, result, _ = await in_thread(run, database, "verify")
    assert code == 1
    assert result["damagedFiles"] == [f"{file.name} has other bytes"]
    code, made, _ = await in_thread(run, database, "backup", tmp_path / "one.backup")
    assert (code, made["leftOut"], made["files"]) == (4, [file.name], 0)
    assert result["differences"] == [
        "table posting: trigger posting_guard is disabled; it fires always in this version"
    ]
    file.unlink()
    assert (await in_thread(run, database, "verify"))[1]["damagedFiles"] == [f"{file.name} is missing"]


def states(result: dict[str, Any]) -> dict[str, str]:
    """Return the state of each finding."""
    return {finding["name"]: finding["state"] for finding in result["findings"]}


def test_the_doctor_tells_what_is_missing_and_what_is_done(
    database: Database, run: Run, tmp_path: Path
) -> None:
    code, result, _ = run(database, "doctor")
    assert code in {1, 4}  # the servers of tests run without fsync
    assert {name: states(result)[name] for name in ("backup", "audit", "guards", "connections", "clock")} == {
        "backup": "WARNING",
        "audit": "WARNING",
        "guards": "GOOD",
        "connections": "GOOD",
        "clock": "GOOD",
    }
    assert run(database, "backup", tmp_path / "one.backup")[0] == 0
    assert run(database, "audit")[0] == 0
    assert {states(run(database, "doctor")[1])[name] for name in ("backup", "audit")} == {"GOOD"}


def test_the_doctor_sees_two_versions_at_once(database: Database, run: Run) -> None:
    assert states(run(database, "doctor")[1])["versions"] == "GOOD"
    with psycopg.connect(database.app_url, application_name="commonweal/99.1.2"):
        _, result, _ = run(database, "doctor")
    assert states(result)["versions"] == "WARNING"
    assert "commonweal/99.1.2" in str(result)


def test_the_doctor_sees_what_is_wrong(database: Database, run: Run) -> None:
    code, result, _ = run(database, "doctor", database_url="postgresql://u:hunter2@127.0.0.1:9/x")
    assert (code, states(result)["database"]) == (1, "WRONG")
    assert "hunter2" not in str(result)
    code, result, _ = run(database, "doctor", smtp_url="smtp://127.0.0.1:9", database_url=database.owner_url)
    assert (code, states(result)["mail"], states(result)["settings"]) == (1, "WRONG", "WARNING")
    login = f"watcher_{new_id().hex[-8:]}"
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        name = sql.Identifier(login)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        try:
            url = database.app_url.replace("commonweal_app@", f"{login}@")
            code, result, _ = run(database, "doctor", database_url=url)
            assert (code, states(result)["database"]) == (1, "WRONG")
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(name))
