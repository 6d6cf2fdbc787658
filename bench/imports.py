"""Compare an import of a long Open Collective ledger with `ledger_post` alone, called for the same rows."""

import asyncio
import csv
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster, execute, recreate_database, require_clean
from services.collectives import host_setup
from services.database import engine as database_engine
from services.database.engine import APP_ROLE
from services.open_collective.importer import CHUNK_ROWS, import_ledger

_IMPORTED, _POSTED = "imported", "posted"
_TARGET = 3.0
_START = datetime(2016, 1, 1, tzinfo=UTC)
_GIVERS = 500
_COLUMNS = (
    "datetime",
    "shortId",
    "shortGroup",
    "type",
    "kind",
    "amount",
    "paymentProcessorFee",
    "netAmount",
    "balance",
    "currency",
    "accountSlug",
    "oppositeAccountSlug",
)
_EMPTY_LEDGER = (
    "DO $$ DECLARE guard record; BEGIN"
    " FOR guard IN SELECT tgrelid::regclass AS of_table, tgname FROM pg_trigger WHERE tgtype & 32 > 0 LOOP"
    " EXECUTE format('DROP TRIGGER %I ON %s', guard.tgname, guard.of_table); END LOOP; END $$;"
    " TRUNCATE posting, transaction, refund_total, ledger_account, hold"
)
"""Empties the ledger without its guards against TRUNCATE; those of inserts stay."""
_ROWS = """
    SELECT to_jsonb(t)::text, array_agg(a.book_id ORDER BY p.seq), array_agg(a.owner_id ORDER BY p.seq),
           array_agg(a.currency::text ORDER BY p.seq), array_agg(a.kind::text ORDER BY p.seq),
           array_agg(p.amount ORDER BY p.seq)
    FROM transaction t JOIN posting p ON p.transaction_id = t.id JOIN ledger_account a ON a.id = p.account_id
    GROUP BY t.id ORDER BY t.at, t.id
"""
_POST = """
    SELECT ledger_post(jsonb_populate_record(NULL::transaction, %s), %s::uuid[], %s::uuid[], %s::text[],
                       %s::text[], %s::bigint[])
"""


def run(cluster: BenchCluster) -> None:
    """Import a generated file, then post its transactions without all that an import does besides."""
    rows = 2_000 if cluster.is_quick else 20_000
    path = cluster.folder / "ledger.csv"
    _write_file(path, rows=rows)
    imports, posts = [], []
    for _ in range(2 if cluster.is_quick else 3):
        imports.append(_import(cluster, path))
        posts.append(_post_alone(cluster))
    ratio = median(a / b for a, b in zip(imports, posts, strict=True))
    markdown_tables.print_table(
        "Import: a long ledger beside `ledger_post` alone",
        ["rows", "import, s", "`ledger_post` alone, s", "ratio", "target", "reached"],
        [
            [
                f"{rows:,}",
                f"{median(imports):.1f}",
                f"{median(posts):.1f}",
                f"{ratio:.2f}",
                f"≤ {_TARGET}",
                "yes" if ratio <= _TARGET else "**no**",
            ]
        ],
        f"Medians of {len(imports)} rounds, each in new databases. Alone: one call of `ledger_post` a row,"
        f" {CHUNK_ROWS} rows a database transaction, the orders being there."
        f" Audit: {require_clean(cluster, _IMPORTED)}.",
    )


def _write_file(path: Path, *, rows: int) -> None:
    """Write gifts of many givers, their host fees, and an expense for every third gift."""
    balance = 0
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="")
        writer.writeheader()
        for number in range(rows):
            turn, step = divmod(number, 7)
            kind, amount = [("CONTRIBUTION", 2_000 + turn % 900), ("HOST_FEE", -200)][step % 2]
            if step == 6:
                kind, amount = "EXPENSE", -4_000
            balance += amount
            at = _START + timedelta(hours=number)
            writer.writerow(
                {
                    "datetime": at.strftime("%Y-%m-%dT%H:%M:%S"),
                    "shortId": f"id{number}",
                    "shortGroup": f"group{turn}-{step // 2}",
                    "type": "CREDIT" if amount > 0 else "DEBIT",
                    "kind": kind,
                    "amount": f"{amount / 100:.2f}",
                    "paymentProcessorFee": "0",
                    "netAmount": f"{amount / 100:.2f}",
                    "balance": f"{balance / 100:.2f}",
                    "currency": "USD",
                    "accountSlug": "webpack",
                    "oppositeAccountSlug": "bench-host" if kind == "HOST_FEE" else f"giver{turn % _GIVERS}",
                }
            )


def _import(cluster: BenchCluster, path: Path) -> float:
    recreate_database(cluster, _IMPORTED)
    return asyncio.run(_import_into(cluster, path))


async def _import_into(cluster: BenchCluster, path: Path) -> float:
    engine = database_engine.create_pool(replace(cluster.settings(_IMPORTED), pool_size=2))
    sessions = database_engine.session_factory(engine)
    try:
        async with sessions.begin() as session:
            await host_setup.create_host(session, slug="bench-host", name="Host", currency="USD")
        started = time.perf_counter()
        await import_ledger(sessions, path=path, host_slug="bench-host", collective_slug="webpack")
        return time.perf_counter() - started
    finally:
        await engine.dispose()


def _post_alone(cluster: BenchCluster) -> float:
    """Post the imported transactions again, into a copy of the database whose ledger is empty."""
    execute(cluster, "postgres", f"DROP DATABASE IF EXISTS {_POSTED} WITH (FORCE)")
    execute(cluster, "postgres", f"CREATE DATABASE {_POSTED} TEMPLATE {_IMPORTED}")
    with psycopg.connect(cluster.database_url(_POSTED)) as owner:
        calls = owner.execute(_ROWS.encode()).fetchall()
        owner.execute(_EMPTY_LEDGER)
    with psycopg.connect(cluster.database_url(_POSTED, role=APP_ROLE), prepare_threshold=1) as connection:
        started = time.perf_counter()
        for start in range(0, len(calls), CHUNK_ROWS):
            for call in calls[start : start + CHUNK_ROWS]:
                connection.execute(_POST, call)
            connection.commit()
        return time.perf_counter() - started
