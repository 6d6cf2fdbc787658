"""Behind PgBouncer in transaction mode: the same answers and rights, and no start without them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import text

from schema.cli import commands
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import engine as database_engine
from services.database import login_settings, migrations
from services.database.connection_checks import WrongConnection
from tests import live_server
from tests.conftest import Database
from tests.donation_world import DonationScene
from tests.factories import World
from tests.pgbouncer import run_pgbouncer

FUND = (
    """mutation($i: AddFundsInput!) { addFunds(input: $i) { order { id status } errors { code message } } }"""
)
ONE = "query($s: String!) { collective(slug: $s) { slug } }"
PAGE = """{ collectives(first: 5) { nodes { slug name } } platformPolicy { usdPerCurrent } }"""


@pytest.fixture
def pooled(database: Database) -> Iterator[str]:
    """Return the database's URL through a pooler that drops what a connection asks for."""
    with run_pgbouncer(database.owner_url) as url:
        yield url


def with_user(url: str, user: str) -> str:
    """Return a URL with a user."""
    return url.replace("postgresql://", f"postgresql://{user}@")


async def facts(settings: Settings) -> tuple[str, ...]:
    """Return role, time zone and time limits of the application's connections, each read several times."""
    engine = database_engine.create_pool(settings)
    statement = text(
        "SELECT current_user, current_setting('TimeZone'), current_setting('statement_timeout'),"
        " current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
    )

    async def read() -> tuple[str, ...]:
        async with engine.connect() as connection:
            return tuple((await connection.execute(statement)).one())

    try:
        found = set(await asyncio.gather(*(read() for _ in range(20))))
    finally:
        await engine.dispose()
    assert len(found) == 1
    return found.pop()


async def test_a_pooler_that_drops_the_role_is_refused(database: Database, pooled: str) -> None:
    settings = replace(database.settings, database_url=with_user(pooled, "postgres"), pool_size=2)
    with pytest.raises(WrongConnection, match=r"role postgres, which may write .* no lock_timeout.*POOLER="):
        await facts(settings)
    with pytest.raises(WrongConnection, match="no statement_timeout"):
        await facts(replace(settings, database_url=with_user(pooled, "commonweal_app"), pooler="transaction"))


async def test_migrate_sets_on_the_login_what_the_pooler_drops(database: Database, pooled: str) -> None:
    settings = replace(
        database.settings,
        database_url=with_user(pooled, "commonweal_app"),
        pooler="transaction",
        pool_size=2,
        lock_timeout_ms=4_000,
    )
    login_settings.apply_settings(settings)
    login_settings.apply_settings(settings)
    assert await facts(settings) == ("commonweal_app", "UTC", "15s", "4s", "30s")
    with pytest.raises(ConfigurationError, match="needs a login of its own"):
        login_settings.apply_settings(replace(settings, database_url=database.owner_url))


async def test_a_login_of_its_own_takes_the_applications_role(database: Database, pooled: str) -> None:
    settings = replace(database.settings, database_url=with_user(pooled, "web"), pooler="transaction")
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS web")
        owner.execute("CREATE ROLE web LOGIN IN ROLE commonweal_app")
    try:
        login_settings.apply_settings(settings)
        assert (await facts(settings))[:2] == ("commonweal_app", "UTC")
    finally:
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web'")
            owner.execute("DROP OWNED BY web")
            owner.execute("DROP ROLE web")


async def test_mixed_requests_at_once_are_answered_right(
    world: World, database: Database, pooled: str, tmp_path: Path
) -> None:
    """Reads and writes share two servers: with prepared statements some would get another's answer."""
    scene = await DonationScene.create(world)
    url = with_user(pooled, "commonweal_app")
    with live_server.run_server(
        database, tmp_path, pooler="transaction", database_url=url, pool_size="6"
    ) as running:
        async with httpx.AsyncClient(timeout=120) as client:

            async def ask(number: int) -> None:
                headers = {"Authorization": f"Bearer {scene.giver.token}"} if number % 2 else {}
                body: dict[str, object] = {"query": PAGE}
                if number % 4 == 0:
                    body = {"query": ONE, "variables": {"s": "commonweal"}}
                answer = (await client.post(running.url, json=body, headers=headers)).json()
                assert "errors" not in answer, answer
                if number % 4 == 0:
                    assert answer["data"]["collective"]["slug"] == "commonweal"

            for start in range(0, 400, 40):
                await asyncio.gather(*(ask(number) for number in range(start, start + 40)))
    log = running.log.read_text()
    assert "prepared statement" not in log
    assert "INTERNAL" not in log


def test_serve_without_migration_needs_no_owner(database: Database) -> None:
    """It neither migrates nor creates anything: a database that was never migrated is refused."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("DROP INDEX ix_order_type")
    done = subprocess.run(
        [sys.executable, "-m", "schema", "serve", "--no-migrate"],
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)}
        | {"COMMONWEAL_DATABASE_URL": database.app_url, "COMMONWEAL_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, "ix_order_type is missing" in done.stderr) == (1, True)


def test_an_upgrade_waits_for_no_table_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gives up its place in the queue, tries again, and says what to do."""
    monkeypatch.setattr(migrations, "ATTEMPTS", 2)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    monkeypatch.setattr(migrations, "PAUSE_SECONDS", 0)
    with psycopg.connect(database.owner_url) as reader, psycopg.connect(database.owner_url) as owner:
        owner.execute("DELETE FROM repeatable_migration WHERE name LIKE '%ledger_guards%'")
        owner.commit()
        reader.execute("LOCK TABLE posting IN ROW EXCLUSIVE MODE")  # as a long import does
        with pytest.raises(ConfigurationError, match="other connections hold its tables"):
            migrations.upgrade(database.owner_url)
        assert caplog.text.count("others hold a table") == 2
        reader.rollback()
        migrations.upgrade(database.owner_url)
        assert commands.check_database(database.settings) == 0
