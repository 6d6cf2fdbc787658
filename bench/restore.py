"""Back up and restore a ledger by `commonweal backup` and `restore`: seconds for so many postings."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import psycopg
from psycopg import sql

from bench import audited_ledger, markdown_tables
from bench.audited_ledger import POSTINGS_OF_A_ROUND
from bench.postgres_cluster import BenchCluster, recreate_database, scalar
from services.database import engine as database_engine
from services.operation import backup, restore, verification

_SOURCE, _TARGET = "backed_up", "restored"
T = TypeVar("T")


def run(cluster: BenchCluster) -> None:
    """Back up a million postings, with --quick 200,000, restore them, and verify everything."""
    recreate_database(cluster, _SOURCE)
    audited_ledger.fill(cluster, _SOURCE, rounds=5 if cluster.is_quick else 25)
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(_TARGET)))
    database_engine.create_database(cluster.url, _TARGET)
    source = replace(cluster.settings(_SOURCE), data_dir=cluster.folder / _SOURCE)
    target = replace(cluster.settings(_TARGET), data_dir=cluster.folder / _TARGET)
    path = cluster.folder / "ledger.backup"
    made, backup_seconds = _timed(lambda: backup.make_backup(source, path))
    _, restore_seconds = _timed(lambda: restore.restore_backup(target, path))
    found, verify_seconds = _timed(lambda: verification.verify_stored(target, full=True))
    path.unlink()
    # The guards are off in a ledger that is made by SQL alone, and a restore brings them as they were.
    if not found.audit.is_clean:
        raise SystemExit(f"The restored ledger is not sound: {found.audit}")
    size = scalar(cluster, _TARGET, "SELECT pg_database_size(current_database()) / 1000000")
    markdown_tables.print_table(
        "Restore: a backup into an empty database",
        ["postings", "database, MB", "backup, MB", "backup, s", "restore, s", "verify --full, s"],
        [
            [
                f"{found.audit.postings:,}",
                str(size),
                str(made.size_bytes // 1_000_000),
                *(f"{seconds:.1f}" for seconds in (backup_seconds, restore_seconds, verify_seconds)),
            ]
        ],
        f"One run. {POSTINGS_OF_A_ROUND:,} postings a round; restoring includes reading the file as a whole.",
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
