"""Compare the transaction feed in process and over HTTP with hand-written SQL for the same rows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from bench import markdown_tables, queries
from bench.postgres_cluster import BenchCluster
from bench.server_process import Connection, RunningServer
from bench.world import BenchScene, measure_server
from services.database.engine import APP_ROLE

_DATABASE = "feed"
_DONATIONS = 300
_BY_HAND = """
SELECT t.id, t.kind, t.at, t.description, f.slug AS from_slug, f.name AS from_name, f.type AS from_type,
    g.slug AS to_slug, g.name AS to_name, g.type AS to_type, fh.slug AS from_host_slug,
    fh.name AS from_host_name, gh.slug AS to_host_slug, gh.name AS to_host_name, o.id AS order_id, o.status,
    o.description AS order_description, t.amount, t.currency, t.from_collective_amount,
    t.from_collective_currency, t.to_host_amount, t.host_currency, t.to_collective_amount, t.host_fee,
    t.platform_fee, t.payment_processor_fee
FROM transaction t LEFT JOIN collective f ON f.id = t.from_collective_id
    LEFT JOIN collective g ON g.id = t.to_collective_id LEFT JOIN collective fh ON fh.id = t.from_host_id
    LEFT JOIN collective gh ON gh.id = t.to_host_id LEFT JOIN "order" o ON o.id = t.order_id
WHERE t.has_public_side ORDER BY t.at DESC, t.id DESC LIMIT %s"""

Ask = Callable[[], Awaitable[Any]]


def run(cluster: BenchCluster) -> None:
    """Time pages of 10 and of 100 transactions."""
    rows, note = measure_server(cluster, _DATABASE, _donate, partial(_measure, cluster))
    markdown_tables.print_table(
        "Feed: a page of transactions with both collectives, both hosts, the order and the amounts",
        [
            "page",
            "by hand, ms",
            "in process, ms",
            "over HTTP, ms",
            "in process ÷ by hand",
            "HTTP ÷ by hand",
        ],
        rows,
        "By hand: one plain psycopg statement, encoded by orjson. Medians of a request, one at a time;"
        f" ratios of {cluster.rounds} interleaved rounds. {note}",
    )


async def _donate(scene: BenchScene) -> None:
    for number in range(_DONATIONS):
        await scene.donate(number)


async def _measure(cluster: BenchCluster, scene: BenchScene, server: RunningServer) -> list[list[str]]:
    connection = await psycopg.AsyncConnection.connect(
        cluster.database_url(_DATABASE, role=APP_ROLE),
        autocommit=True,
        prepare_threshold=0,
        row_factory=dict_row,
    )
    async with connection, Connection(server) as http:
        return [await _page(cluster, scene, connection, http, first) for first in (10, 100)]


async def _page(
    cluster: BenchCluster,
    scene: BenchScene,
    connection: psycopg.AsyncConnection[dict[str, Any]],
    http: Connection,
    first: int,
) -> list[str]:
    async def by_hand() -> None:
        rows = await (await connection.execute(_BY_HAND, [first])).fetchall()
        orjson.dumps(rows)

    async def in_process() -> None:
        orjson.dumps(await scene.world.query(queries.FEED, first=first), default=str)

    async def over_http() -> None:
        if b'"errors"' in await http.query(queries.FEED, {"first": first}):
            raise SystemExit("The feed has errors")

    sides: list[list[float]] = [[], [], []]
    for number in range(cluster.rounds + 1):
        for ask, times in zip((by_hand, in_process, over_http), sides, strict=True):
            median_ms = await _median_ms(ask, cluster.seconds / 3)
            if number:
                times.append(median_ms)
    return [
        str(first),
        *(markdown_tables.format_spread(times, ".2f") for times in sides),
        markdown_tables.format_spread(markdown_tables.compute_ratios(sides[1], sides[0]), ".1f"),
        markdown_tables.format_spread(markdown_tables.compute_ratios(sides[2], sides[0]), ".1f"),
    ]


async def _median_ms(ask: Ask, seconds: float) -> float:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until or not times:
        await ask()
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0)
    return median(times)
