"""Rounds of an operation over HTTP beside its posting alone: rates, processor times and waits of both."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from bench.markdown_tables import compute_ratios, format_spread
from bench.postgres_cluster import BenchCluster
from bench.server_process import (
    RunningServer,
    cpu_seconds,
    cpu_seconds_between,
    postgres_cpu_seconds,
)
from models import new_id
from services.database.engine import APP_ROLE

CONNECTIONS = (1, 4, 16)

_POSTED = """
SELECT to_jsonb(x.t) - '{at,created_at,xid,order_id}'::text[] || '{"kind": "MERGE"}' AS row,
    array_agg(book_id) AS books, array_agg(owner_id) AS owners, array_agg(currency) AS currencies,
    array_agg(kind) AS kinds, array_agg(amount) AS amounts
FROM (
    SELECT t, a.book_id, a.owner_id, a.currency, a.kind, p.amount
    FROM (SELECT * FROM transaction WHERE kind = %(kind)s ORDER BY id DESC LIMIT 100) t
        JOIN posting p ON p.transaction_id = t.id
        JOIN ledger_account a ON a.book_id = p.book_id AND a.id = p.account_id
    ORDER BY t.id, a.book_id, a.owner_id, a.currency COLLATE "C", a.kind COLLATE "C"
) x GROUP BY x.t"""
_POST = """
SELECT ledger_post(jsonb_populate_record(NULL::transaction, %(row)s::jsonb), %(books)s::uuid[],
    %(owners)s::uuid[], %(currencies)s::text[], %(kinds)s::text[], %(amounts)s::bigint[])"""

Work = Callable[[], Awaitable[None]]


@dataclass
class Side:
    """The measurements of one side, a value for each round."""

    rate: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


HTTP_HEAD = ("Python CPU, ms", "PostgreSQL CPU, ms", "p50, ms", "p99 ÷ p50, target ≤ 4")


def http_cells(http: Side) -> list[str]:
    """Return the cells of a table below `HTTP_HEAD`."""
    return [
        format_spread(http.server_ms, ".2f"),
        format_spread(http.postgres_ms, ".2f"),
        format_spread(http.p50_ms, ".1f"),
        format_spread(compute_ratios(http.p99_ms, http.p50_ms), ".1f"),
    ]


async def measure(cluster: BenchCluster, server: RunningServer, *sides: tuple[Side, Sequence[Work]]) -> None:
    """Run the sides in turn, round by round; each does the work of all of its connections at a time."""
    for number in range(cluster.rounds + 1):
        for side, work in sides:
            await _round(cluster, server, side if number else Side(), work)


async def _round(cluster: BenchCluster, server: RunningServer, side: Side, work: Sequence[Work]) -> None:
    server_cpu, postgres_cpu = cpu_seconds(server.pid), postgres_cpu_seconds(cluster)
    started = time.perf_counter()
    taken_by_each = await asyncio.gather(*(_repeat_until(started + cluster.seconds, each) for each in work))
    elapsed, taken = time.perf_counter() - started, sorted(itertools.chain(*taken_by_each))
    count = len(taken)
    side.rate.append(count / elapsed)
    side.server_ms.append((cpu_seconds(server.pid) - server_cpu) / count * 1000)
    side.postgres_ms.append(cpu_seconds_between(postgres_cpu, postgres_cpu_seconds(cluster)) / count * 1000)
    side.p50_ms.append(taken[count // 2] * 1000)
    side.p99_ms.append(taken[count * 99 // 100] * 1000)


async def _repeat_until(end: float, work: Work) -> list[float]:
    """Return the seconds of each call."""
    taken: list[float] = []
    began = time.perf_counter()
    while began < end or not taken:
        await work()
        now = time.perf_counter()
        taken.append(now - began)
        began = now
    return taken


async def open_posters(
    cluster: BenchCluster, stack: AsyncExitStack, database: str, *, kind: str, count: int
) -> list[Work]:
    """Return functions that post the amounts of what was posted last again, as a kind that needs no order."""
    return [await _open_poster(cluster, stack, database, kind, number) for number in range(count)]


async def _open_poster(
    cluster: BenchCluster, stack: AsyncExitStack, database: str, kind: str, number: int
) -> Work:
    connection = await stack.enter_async_context(
        await psycopg.AsyncConnection.connect(
            cluster.database_url(database, role=APP_ROLE), autocommit=True, prepare_threshold=0
        )
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(_POSTED, {"kind": kind})).fetchall()
    arguments: dict[str, Any] = rows[number % len(rows)]
    row = arguments.pop("row")

    async def work() -> None:
        row["id"] = row["group_id"] = str(new_id())
        await connection.execute(_POST, {**arguments, "row": orjson.dumps(row).decode()})

    return work
