"""Audit what was added to a large ledger: time and memory of the processor that PostgreSQL uses for it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import audited_ledger, markdown_tables
from bench.audited_ledger import POSTINGS_OF_A_ROUND
from bench.postgres_cluster import BenchCluster, recreate_database, scalar
from bench.server_process import cpu_seconds
from services.database import engine as database_engine
from services.ledger.audit import LedgerAudit, audit_ledger

_DATABASE = "audited"
_BACKENDS = (
    "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE datname = 'audited' AND usename = '{}'"
)
_TARGET_SECONDS = 60


@dataclass
class _Usage:
    """What the backends of an audit used."""

    seconds: dict[int, float] = field(default_factory=dict)
    memory_mib: float = 0


def run(cluster: BenchCluster) -> None:
    """Audit ten million postings, then what was added to them."""
    first, small, large = (5, 1, 2) if cluster.is_quick else (250, 3, 25)
    recreate_database(cluster, _DATABASE)
    audited_ledger.fill(cluster, _DATABASE, rounds=first)
    rows = [_measure(cluster, "everything")]
    for added in (small, large):
        audited_ledger.add(cluster, _DATABASE, first=first, last=first + added)
        first += added
        rows.append(_measure(cluster, f"{added * POSTINGS_OF_A_ROUND:,} added"))
    markdown_tables.print_table(
        "Audit: what was added to a large ledger",
        [
            "read",
            "postings",
            "transactions",
            "s",
            "PostgreSQL CPU, s",
            "PostgreSQL memory, MiB",
            "target",
            "reached",
        ],
        rows,
        "One run each, in one snapshot; CPU time and private memory are those of PostgreSQL's backend.",
    )


def _measure(cluster: BenchCluster, name: str) -> list[str]:
    started = time.perf_counter()
    with _watch(cluster) as usage:
        result = asyncio.run(_audit(cluster))
    elapsed, cpu = time.perf_counter() - started, sum(usage.seconds.values())
    if not result.is_clean:
        raise SystemExit(f"The ledger is not clean: {[c for c in result.checks if c.violations]}")
    target = "" if result.is_full else f"≤ {_TARGET_SECONDS} s CPU"
    reached = "" if result.is_full else "yes" if cpu <= _TARGET_SECONDS else "**no**"
    figures = [f"{result.postings:,}", f"{result.transactions:,}", f"{elapsed:.1f}", f"{cpu:.1f}"]
    return [name, *figures, f"{usage.memory_mib:.0f}", target, reached]


async def _audit(cluster: BenchCluster) -> LedgerAudit:
    engine = database_engine.create_pool(replace(cluster.settings(_DATABASE), pool_size=2))
    try:
        return await audit_ledger(database_engine.session_factory(engine))
    finally:
        await engine.dispose()


@contextmanager
def _watch(cluster: BenchCluster) -> Iterator[_Usage]:
    """Sample the backends of the application until the block ends."""
    usage, stop = _Usage(), threading.Event()

    def sample() -> None:
        while not stop.wait(0.1):
            pids = scalar(cluster, _DATABASE, _BACKENDS.format(database_engine.APP_ROLE))
            for pid in str(pids or "").split(","):
                if pid:
                    _sample(usage, int(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield usage
    finally:
        stop.set()
        thread.join()


def _sample(usage: _Usage, pid: int) -> None:
    try:
        usage.seconds[pid] = cpu_seconds(pid)
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return  # it has just ended
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")), "0")
    usage.memory_mib = max(usage.memory_mib, int(kib) / 1024)
