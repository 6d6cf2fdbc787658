"""Compare approving a donation over HTTP with only posting it through psycopg."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row

from bench import markdown_tables, queries
from bench.postgres_cluster import BenchCluster, execute
from bench.server_process import (
    Connection,
    RunningServer,
    cpu_seconds,
    cpu_seconds_between,
    postgres_cpu_seconds,
)
from bench.world import BenchScene, measure_server
from models import new_id
from services.core import public_ids
from services.database.engine import APP_ROLE
from tests.factories import money, ref

_DATABASE = "approvals"
_CONNECTIONS = (1, 4, 16)
_PER_SECOND = 400
"""Pending orders created for each second of measuring: more than one process can approve."""

_CLONE = """
WITH created AS (
    INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object('id', uuidv7()))).*
    FROM "order" o CROSS JOIN generate_series(1, %(copies)s) WHERE o.status = 'PENDING' RETURNING *
)
INSERT INTO order_action (id, order_id, type, actor_id, to_status, amount, at)
SELECT uuidv7(), id, 'CREATE', created_by_id, 'PENDING', amount, created_at FROM created"""
_PENDING = "SELECT id FROM \"order\" WHERE status = 'PENDING' ORDER BY md5(id::text)"
_APPROVED = """
SELECT to_jsonb(x.t) - '{at,created_at,xid,order_id}'::text[] || '{"kind": "MERGE"}' AS row,
    array_agg(book_id) AS books, array_agg(owner_id) AS owners, array_agg(currency) AS currencies,
    array_agg(kind) AS kinds, array_agg(amount) AS amounts
FROM (
    SELECT t, a.book_id, a.owner_id, a.currency, a.kind, p.amount
    FROM transaction t JOIN posting p ON p.transaction_id = t.id
        JOIN ledger_account a ON a.book_id = p.book_id AND a.id = p.account_id
    WHERE t.kind = 'DONATION'
    ORDER BY t.id, a.book_id, a.owner_id, a.currency COLLATE "C", a.kind COLLATE "C"
) x GROUP BY x.t"""
_POST = """
SELECT ledger_post(jsonb_populate_record(NULL::transaction, %(row)s::jsonb), %(books)s::uuid[],
    %(owners)s::uuid[], %(currencies)s::text[], %(kinds)s::text[], %(amounts)s::bigint[])"""

Work = Callable[[], Awaitable[None]]


@dataclass
class _Side:
    """The measurements of one side, a value for each round."""

    rate: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


def run(cluster: BenchCluster) -> None:
    """Measure approvals a second, and the cost of one, by number of connections."""
    rows, note = measure_server(
        cluster,
        _DATABASE,
        partial(_create_pending_donations, cluster),
        partial(_measure, cluster),
    )
    markdown_tables.print_table(
        "Approving a donation: GraphQL over HTTP on one process, beside its posting alone",
        [
            "connections",
            "approvals/s",
            "postings/s",
            "HTTP ÷ posting, time",
            "Python CPU, ms",
            "PostgreSQL CPU, ms",
            "PostgreSQL CPU of a posting, ms",
            "p50, ms",
            "p99 ÷ p50, target ≤ 4",
        ],
        rows,
        "An approval: sign-in checked, key claimed, order moved, two steps of history, posting, membership,"
        f" mails queued; durable. {cluster.rounds} interleaved rounds of {cluster.seconds:g} s a side; CPU"
        f" times are those of the processes for each operation. {note}",
    )


async def _measure(cluster: BenchCluster, scene: BenchScene, server: RunningServer) -> list[list[str]]:
    async with await psycopg.AsyncConnection.connect(
        cluster.database_url(_DATABASE), autocommit=True
    ) as owner:
        orders = iter([row[0] async for row in await owner.execute(_PENDING)])
    async with Connection(server, scene.holder.token) as http:
        await _approve(http, next(orders))
    return [await _compare(cluster, scene, server, orders, connections) for connections in _CONNECTIONS]


async def _create_pending_donations(cluster: BenchCluster, scene: BenchScene) -> None:
    for giver, row in zip(scene.givers, scene.collectives, strict=True):
        arguments: dict[str, Any] = {"from": ref(giver), "to": ref(row), "amount": money("20.00")}
        await scene.world.mutate("donate", by=giver, paymentMethod="MANUAL", **arguments)
    expected = _PER_SECOND * cluster.seconds * (cluster.rounds + 1) * len(_CONNECTIONS)
    copies = round(expected / len(scene.givers))
    execute(cluster, _DATABASE, _CLONE.replace("%(copies)s", str(copies)), "VACUUM (ANALYZE)", "CHECKPOINT")


async def _compare(
    cluster: BenchCluster, scene: BenchScene, server: RunningServer, orders: Iterator[UUID], connections: int
) -> list[str]:
    http, alone = _Side(), _Side()
    async with AsyncExitStack() as stack:
        approving = [
            _approver(await stack.enter_async_context(Connection(server, scene.holder.token)), orders)
            for _ in range(connections)
        ]
        posting = [await _poster(cluster, stack, number) for number in range(connections)]
        for number in range(cluster.rounds + 1):
            for side, work in ((http, approving), (alone, posting)):
                await _round(cluster, server, side if number else _Side(), work)
    return [
        str(connections),
        markdown_tables.format_spread(http.rate, ".0f"),
        markdown_tables.format_spread(alone.rate, ".0f"),
        markdown_tables.format_spread(markdown_tables.compute_ratios(alone.rate, http.rate), ".1f"),
        markdown_tables.format_spread(http.server_ms, ".2f"),
        markdown_tables.format_spread(http.postgres_ms, ".2f"),
        markdown_tables.format_spread(alone.postgres_ms, ".2f"),
        markdown_tables.format_spread(http.p50_ms, ".1f"),
        markdown_tables.format_spread(markdown_tables.compute_ratios(http.p99_ms, http.p50_ms), ".1f"),
    ]


async def _round(cluster: BenchCluster, server: RunningServer, side: _Side, work: list[Work]) -> None:
    """Run all connections for one round and record the rate and the processor times."""
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


def _approver(http: Connection, orders: Iterator[UUID]) -> Work:
    async def work() -> None:
        order_id = next(orders, None)
        if order_id is None:
            raise SystemExit("All orders are approved: raise _PER_SECOND")
        await _approve(http, order_id)

    return work


async def _approve(http: Connection, order_id: UUID) -> None:
    arguments = {"id": public_ids.encode("Order", order_id), "idempotencyKey": f"bench-{order_id}"}
    answer = await http.query(queries.APPROVE, {"i": arguments})
    if b'"status":"PAID"' not in answer:
        raise SystemExit(f"Not approved: {answer!r}")


async def _poster(cluster: BenchCluster, stack: AsyncExitStack, number: int) -> Work:
    """Return a function that posts an approved donation's amounts again, as a kind that needs no order."""
    connection = await stack.enter_async_context(
        await psycopg.AsyncConnection.connect(
            cluster.database_url(_DATABASE, role=APP_ROLE), autocommit=True, prepare_threshold=0
        )
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(_APPROVED)).fetchall()
    arguments: dict[str, Any] = rows[number % len(rows)]
    row = arguments.pop("row")

    async def work() -> None:
        row["id"] = row["group_id"] = str(new_id())
        await connection.execute(_POST, {**arguments, "row": orjson.dumps(row).decode()})

    return work
