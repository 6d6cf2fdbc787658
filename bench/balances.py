"""Compare balances, now and in the past, on accounts with a short and a long history."""

import asyncio
import random
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster, execute, host_statements, recreate_database, require_clean
from models import Collective, new_id, now
from services.access.actor import ANONYMOUS
from services.database import engine as database_engine
from services.ledger import balances

_DATABASE = "balances"
_CALLS = 200
_TOLERANCE = 1.2


@dataclass(frozen=True)
class _LongAccount:
    """A collective whose account has one posting a second until now."""

    postings: int
    host_id: UUID
    collective_id: UUID

    @property
    def name(self) -> str:
        """The number of postings, formatted."""
        return f"{self.postings:,}"


def run(cluster: BenchCluster) -> None:
    """Time balances on a short and a long account."""
    recreate_database(cluster, _DATABASE)
    sizes = (10_000, 100_000 if cluster.is_quick else 1_000_000)
    short, long = (_LongAccount(size, new_id(), new_id()) for size in sizes)
    _fill(cluster, short)
    _fill(cluster, long)
    execute(cluster, _DATABASE, "VACUUM (ANALYZE)", "CHECKPOINT")
    rows = asyncio.run(_measure(cluster, short, long))
    markdown_tables.print_table(
        "Balance of a collective by the number of its postings (`services.ledger.balances`)",
        [
            "moment",
            f"{short.name} postings, ms",
            f"{long.name} postings, ms",
            "long ÷ short",
            "target",
            "reached",
        ],
        rows,
        f"Medians and ranges of {cluster.rounds} interleaved rounds of {_CALLS} calls, one at a time; the"
        f" past moments are random ones of the account's life. Audit: {require_clean(cluster, _DATABASE)}.",
    )


def _fill(cluster: BenchCluster, account: _LongAccount) -> None:
    """Insert a valid history as the owner, with the posting guard disabled meanwhile."""
    host, own, size = account.host_id, account.collective_id, account.postings
    began = now() - timedelta(seconds=size + 60)
    execute(
        cluster,
        _DATABASE,
        "INSERT INTO collective (id, slug, type, name, currency) VALUES"
        f" ('{host}', 'host-{size}', 'NONPROFIT', 'Host', 'USD')",
        *host_statements(f"id = '{host}'"),
        "INSERT INTO collective (id, slug, type, name, currency, host_id, host_approved_at) VALUES"
        f" ('{own}', 'long-{size}', 'COMMUNITY', 'Long', 'USD', '{host}', now())",
        "INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor) VALUES"
        f" ('{host}', '{host}', 'USD', 'CASH', NULL), ('{host}', '{own}', 'USD', 'BALANCE', 0)",
        "INSERT INTO transaction (id, group_id, kind, to_collective_id, to_host_id, currency, amount,"
        " fx_rate, host_currency, gross, payment_processor_fee, platform_fee, host_fee, to_host_amount,"
        " to_collective_amount, has_public_side, at, created_at, xid)"
        f" SELECT {_row_id('n', size)}, {_row_id('n', size)}, 'ADDED_FUNDS', '{own}', '{host}', 'USD',"
        f" 100, 1, 'USD', 100, 0, 0, 0, 100, 100, true, {_at(began)}, {_at(began)}, 0"
        f" FROM generate_series(1, {size}) n",
        "ALTER TABLE posting DISABLE TRIGGER posting_guard",
        "INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount, balance_after, at)"
        f" SELECT a.book_id, a.id, n, {_row_id('n', size)}, 'USD', s.sign * 100, s.sign * 100 * n,"
        f" {_at(began)} FROM generate_series(1, {size}) n CROSS JOIN ledger_account a"
        " CROSS JOIN LATERAL (SELECT CASE a.kind WHEN 'CASH' THEN -1 ELSE 1 END AS sign) s"
        f" WHERE a.book_id = '{host}'",
        "ALTER TABLE posting ENABLE ALWAYS TRIGGER posting_guard",
        f"UPDATE ledger_account SET seq = {size}, last_at = {_at(began).replace('n *', f'{size} *')},"
        f" posted = CASE kind WHEN 'CASH' THEN -1 ELSE 1 END * 100 * {size} WHERE book_id = '{host}'",
    )


def _row_id(number: str, size: int) -> str:
    return f"('{size:08d}-0000-7000-8000-' || lpad({number}::text, 12, '0'))::uuid"


def _at(began: datetime) -> str:
    return f"timestamptz '{began.isoformat()}' + n * interval '1 second'"


async def _measure(cluster: BenchCluster, short: _LongAccount, long: _LongAccount) -> list[list[str]]:
    engine = database_engine.create_pool(replace(cluster.settings(_DATABASE), pool_size=2))
    sessions = database_engine.session_factory(engine)
    rows = []
    for moment in ("now", "past"):
        times: list[list[float]] = [[], []]
        for number in range(cluster.rounds + 1):
            for account, side in zip((short, long), times, strict=True):
                each = await _median_ms(sessions, account, past=moment == "past")
                if number:
                    side.append(each)
        ratio = markdown_tables.compute_ratios(times[1], times[0])
        reached = "yes" if 1 / _TOLERANCE <= median(ratio) <= _TOLERANCE else "**no**"
        rows.append(
            [
                moment,
                *(markdown_tables.format_spread(t, ".3f") for t in times),
                markdown_tables.format_spread(ratio),
                "0.83 to 1.20",
                reached,
            ]
        )
    await engine.dispose()
    return rows


async def _median_ms(
    sessions: async_sessionmaker[AsyncSession], account: _LongAccount, *, past: bool
) -> float:
    times = []
    async with sessions() as session:
        row = await session.get_one(Collective, account.collective_id)
        owner = balances.Owner.from_row(row)
        for _ in range(_CALLS):
            ago = random.uniform(60, account.postings)
            as_of = now() - timedelta(seconds=ago) if past else None
            started = time.perf_counter()
            result = await balances.load_balances(session, ANONYMOUS, owners=[owner], as_of=as_of)
            times.append((time.perf_counter() - started) * 1000)
            if not result[owner][0].posted_minor:
                raise SystemExit("The balance is empty")
    return median(times)
