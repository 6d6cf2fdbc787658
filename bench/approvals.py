"""Compare approving a donation over HTTP with only posting it through psycopg."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from bench import markdown_tables, paired_rounds, queries
from bench.paired_rounds import CONNECTIONS, Side, Work
from bench.postgres_cluster import BenchCluster, execute
from bench.server_process import Connection, RunningServer
from bench.world import BenchScene, measure_server
from services.core import public_ids
from tests.factories import money, ref

_DATABASE = "approvals"
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
            *paired_rounds.HTTP_HEAD,
            "PostgreSQL CPU of a posting, ms",
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
    return [await _compare(cluster, scene, server, orders, connections) for connections in CONNECTIONS]


async def _create_pending_donations(cluster: BenchCluster, scene: BenchScene) -> None:
    for giver, row in zip(scene.givers, scene.collectives, strict=True):
        arguments: dict[str, Any] = {"from": ref(giver), "to": ref(row), "amount": money("20.00")}
        await scene.world.mutate("donate", by=giver, paymentMethod="MANUAL", **arguments)
    expected = _PER_SECOND * cluster.seconds * (cluster.rounds + 1) * len(CONNECTIONS)
    copies = round(expected / len(scene.givers))
    execute(cluster, _DATABASE, _CLONE.replace("%(copies)s", str(copies)), "VACUUM (ANALYZE)", "CHECKPOINT")


async def _compare(
    cluster: BenchCluster, scene: BenchScene, server: RunningServer, orders: Iterator[UUID], connections: int
) -> list[str]:
    http, alone = Side(), Side()
    async with AsyncExitStack() as stack:
        approving = [
            _approver(await stack.enter_async_context(Connection(server, scene.holder.token)), orders)
            for _ in range(connections)
        ]
        posting = await paired_rounds.open_posters(
            cluster, stack, _DATABASE, kind="DONATION", count=connections
        )
        await paired_rounds.measure(cluster, server, (http, approving), (alone, posting))
    return [
        str(connections),
        markdown_tables.format_spread(http.rate, ".0f"),
        markdown_tables.format_spread(alone.rate, ".0f"),
        markdown_tables.format_spread(markdown_tables.compute_ratios(alone.rate, http.rate), ".1f"),
        *paired_rounds.http_cells(http),
        markdown_tables.format_spread(alone.postgres_ms, ".2f"),
    ]


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
