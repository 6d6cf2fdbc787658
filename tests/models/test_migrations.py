"""The migrated database is the one that the models and the committed catalogue describe."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import models
from models.iso4217 import CURRENCIES
from models.migrations import sql_files
from services.core import database_urls
from services.core.errors import ConfigurationError
from services.database import catalogue, migrations
from tests.conftest import Database, Server, create_database, drop_database

UPGRADE = "import sys; from services.database import migrations; migrations.upgrade(sys.argv[1])"
MIGRATIONS = sql_files.SQL_FOLDER.parent
RELEASED_FILES = Path(__file__).parent / "released_migrations.sha256"
SCRIPT = ScriptDirectory.from_config(migrations.alembic_config("postgresql://nowhere"))
REVISIONS = [revision.revision for revision in SCRIPT.walk_revisions()][::-1]


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """Return the owner's URL of a database without tables."""
    database = create_database(server)
    yield database.owner_url
    drop_database(server, database.name)


def alembic_upgrade(url: str, revision: str) -> None:
    """Apply the revisions up to this one, without functions and triggers."""
    engine = create_engine(database_urls.to_psycopg_url(url))
    with engine.begin() as connection:
        config = migrations.alembic_config(url)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def execute(url: str, *statements: str) -> None:
    """Execute statements as the owner."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def differences(url: str) -> list[str]:
    """Return how a database differs from the committed catalogue."""
    return [difference.description for difference in catalogue.find_differences(url)]


def released_files() -> list[tuple[str, str]]:
    """Return the hash and the path of each released file."""
    lines = RELEASED_FILES.read_text().splitlines()
    return [(sha256, path) for sha256, path in (line.split("  ") for line in lines)]


def test_the_models_and_the_migrations_agree(database: Database) -> None:
    engine = create_engine(database_urls.to_psycopg_url(database.owner_url))
    with engine.connect() as connection:
        config = migrations.alembic_config(database.owner_url)
        config.attributes["connection"] = connection
        command.check(config)
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name != "repeatable_migration",
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, models.metadata) == []
    engine.dispose()


def test_there_is_one_line_of_migrations() -> None:
    assert len(SCRIPT.get_heads()) == 1
    assert len(SCRIPT.get_bases()) == 1


def test_the_catalogue_is_the_committed_one(database: Database) -> None:
    """After a deliberate change, write it with `commonweal migrate --write-catalogue` and review the diff."""
    actual = catalogue.render_catalogue(catalogue.load_catalogue(database.app_url))
    assert actual == catalogue.CATALOGUE_FILE.read_text()


def test_upgrading_twice_changes_nothing(empty: str) -> None:
    migrations.upgrade(empty)
    with psycopg.connect(empty) as connection:
        applied = connection.execute("SELECT * FROM repeatable_migration ORDER BY name").fetchall()
    assert [row[0] for row in applied] == sql_files.function_files()
    migrations.upgrade(empty)
    assert differences(empty) == []
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT * FROM repeatable_migration ORDER BY name").fetchall() == applied


def test_upgrades_at_once_wait_for_each_other(empty: str) -> None:
    arguments = [sys.executable, "-c", UPGRADE, empty]
    running = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert differences(empty) == []


# Released revisions


def test_released_migrations_are_never_edited() -> None:
    for sha256, path in released_files():
        actual = hashlib.sha256((MIGRATIONS / path).read_bytes()).hexdigest()
        assert actual == sha256, f"{path} has been released: add a revision instead of editing it"


def test_every_file_of_a_released_revision_is_listed() -> None:
    listed = {path for _, path in released_files()}
    revisions = {Path(path).stem for path in listed if path.startswith("versions/")}
    present = {
        str(path.relative_to(MIGRATIONS))
        for revision in revisions
        for path in [*MIGRATIONS.glob(f"sql/{revision}/*.sql"), *MIGRATIONS.glob(f"sql/{revision}.sql")]
    }
    assert revisions <= set(REVISIONS)
    assert present | {f"versions/{revision}.py" for revision in revisions} == listed


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_revision_can_be_upgraded(empty: str, revision: str) -> None:
    alembic_upgrade(empty, revision)
    migrations.upgrade(empty)
    assert differences(empty) == []


def test_an_older_installation_gets_the_functions_of_this_version(empty: str) -> None:
    migrations.upgrade(empty)
    execute(
        empty,
        "CREATE OR REPLACE FUNCTION ledger_release(p_order_id uuid) RETURNS void LANGUAGE sql AS ''",
        "GRANT EXECUTE ON FUNCTION ledger_release(uuid) TO PUBLIC",
        "DROP TRIGGER posting_guard ON posting",
        "ALTER TABLE posting DISABLE TRIGGER append_only",
        "UPDATE repeatable_migration SET sha256 = 'of an older version'",
    )
    assert differences(empty) != []
    migrations.upgrade(empty)
    assert differences(empty) == []


def test_a_failed_upgrade_leaves_nothing_behind(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        migrations, "function_files", lambda: ["functions/append_only.sql", "functions/no.sql"]
    )
    with pytest.raises(FileNotFoundError):
        migrations.upgrade(empty)
    with psycopg.connect(empty) as connection:
        assert (
            connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == []
        )


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        (
            "0004",
            "created by a version before the first release.*create it again and run `commonweal migrate`",
        ),
        ("9999_future", "belongs to a newer version of Commonweal.*install that version"),
    ],
)
def test_unknown_revisions_are_refused(empty: str, revision: str, message: str) -> None:
    execute(
        empty,
        "CREATE TABLE alembic_version (version_num text)",
        f"INSERT INTO alembic_version VALUES ('{revision}')",
    )
    with pytest.raises(ConfigurationError, match=message):
        migrations.upgrade(empty)


def test_only_the_owner_upgrades(database: Database) -> None:
    migrations.upgrade(database.app_url)  # nothing to do
    execute(database.owner_url, "UPDATE repeatable_migration SET sha256 = 'of an older version'")
    with pytest.raises(ConfigurationError, match="set COMMONWEAL_OWNER_DATABASE_URL"):
        migrations.upgrade(database.app_url)


# Differences


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NULL; END'",
            "function refuse_change(): the body is not the one of this version",
        ),
        (
            "ALTER FUNCTION ledger_release(uuid) SECURITY INVOKER",
            "function ledger_release(p_order_id uuid): def",
        ),
        (
            "GRANT EXECUTE ON FUNCTION count_refund(transaction) TO PUBLIC",
            "right of PUBLIC is not part of this",
        ),
        (
            "REVOKE INSERT ON member FROM commonweal_app",
            "table member: right of commonweal_app is 'SELECT' inst",
        ),
        (
            "GRANT UPDATE (amount) ON posting TO commonweal_app",
            "table posting: right on column amount of common",
        ),
        (
            "ALTER TABLE posting DISABLE TRIGGER posting_guard",
            "trigger posting_guard is disabled; it fires always",
        ),
        (
            "ALTER TABLE posting ENABLE TRIGGER posting_guard",
            "trigger posting_guard fires except on replicas;",
        ),
        ('DROP TRIGGER live_order_made ON "order"', "table order: trigger live_order_made is missing"),
        (
            "ALTER TABLE hold DROP CONSTRAINT ck_hold_amount_positive",
            "constraint ck_hold_amount_positive is miss",
        ),
        ('ALTER TABLE "order" DROP CONSTRAINT ex_order_hours_overlap', "ex_order_hours_overlap is missing"),
        ("DROP INDEX uq_member_open", "table member: index uq_member_open is missing"),
        (
            "ALTER TABLE member ALTER COLUMN since DROP NOT NULL",
            "table member: column since is 'timestamp with",
        ),
        ("DROP TABLE muted_topic", "table muted_topic is missing"),
        ("DROP FUNCTION live_prune(interval)", "function live_prune(p_keep interval) is missing"),
        ("UPDATE alembic_version SET version_num = 'older'", "schema public: revision is 'older' instead of"),
    ],
)
def test_the_server_refuses_what_weakens_the_database(
    database: Database, change: str, difference: str
) -> None:
    execute(database.owner_url, change)
    assert difference in "\n".join(differences(database.app_url))
    with pytest.raises(ConfigurationError, match="run `commonweal migrate`") as refusal:
        catalogue.require_current(database.app_url)
    assert difference in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE notes (id int)",
        "CREATE INDEX ix_notes ON member (created_by_id)",
        "GRANT SELECT ON member TO pg_monitor",
        "ALTER TABLE posting SET (autovacuum_vacuum_cost_delay = 1)",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ],
)
def test_additions_and_tuning_are_reported_but_allowed(
    database: Database, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database.owner_url, change)
    assert len(differences(database.app_url)) == 1
    catalogue.require_current(database.app_url)
    assert "The database differs from this version" in caplog.text


def test_an_empty_database_is_named(empty: str) -> None:
    with pytest.raises(ConfigurationError, match="The database is empty: run `commonweal migrate`"):
        catalogue.require_current(empty)


# Contents


@pytest.mark.parametrize("table", sorted(models.metadata.tables))
def test_the_columns_stand_in_the_order_of_the_model(database: Database, table: str) -> None:
    """The function ledger_post inserts whole rows: for `transaction` the order is part of the contract."""
    with psycopg.connect(database.owner_url) as connection:
        rows = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0"
            " AND NOT attisdropped ORDER BY attnum",
            [table],
        ).fetchall()
    assert [name for (name,) in rows] == [column.name for column in models.metadata.tables[table].columns]


def test_the_currencies_are_those_of_iso_4217(database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        rows: list[Any] = connection.execute("SELECT code, exponent, name, kind FROM currency").fetchall()
    assert {code: (exponent, name) for code, exponent, name, _ in rows} == CURRENCIES
    assert [code for code, _, _, kind in rows if kind == "TIME"] == ["CUR"]
    expected = {"JPY": 0, "USD": 2, "EUR": 2, "KWD": 3, "CUR": 3}
    assert {code: CURRENCIES[code][0] for code in expected} == expected
