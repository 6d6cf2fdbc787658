"""The feed of transactions: in process and over HTTP, beside the same rows read by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from bench import markdown_tables, queries
from bench.postgres_cluster import Place, fresh_database, require_clean
from bench.server_process import Connection, serving
from bench.world import Scene, in_scene
from services.database.engine import APP_ROLE

_DATABASE = "feed"
_MOVES = 300
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


def run(place: Place) -> None:
    """Time pages of 10 and of 100 transactions."""
    fresh_database(place, _DATABASE)
    rows: list[list[str]] = []
    memory: list[float] = []
    in_scene(place, _DATABASE, lambda made: _measure(place, made, rows, memory))
    markdown_tables.show(
        "Feed: a page of transactions with both collectives, both hosts, the order and the amounts",
        [
            "page",
            "read by hand, ms",
            "in process, ms",
            "over HTTP, ms",
            "in process ÷ by hand",
            "HTTP ÷ by hand",
        ],
        rows,
        "By hand: one statement of plain psycopg, encoded by orjson. Medians of a request, one at a time;"
        f" ratios of {place.rounds} interleaved rounds. The server's resident memory: {memory[0]:.0f} MiB"
        f" at its start, {memory[1]:.0f} MiB after. Audit: {require_clean(place, _DATABASE)}.",
    )


async def _measure(place: Place, made: Scene, rows: list[list[str]], memory: list[float]) -> None:
    for number in range(_MOVES):
        await made.donate(number)
    connection = await psycopg.AsyncConnection.connect(
        place.database_url(_DATABASE, role=APP_ROLE),
        autocommit=True,
        prepare_threshold=0,
        row_factory=dict_row,
    )
    with serving(place, _DATABASE) as served:
        memory.append(served.resident_mib)
        async with connection, Connection(served) as http:
            for first in (10, 100):
                rows.append(await _page(place, made, connection, http, first))  # noqa: PERF401 - in turn
        memory.append(served.resident_mib)


async def _page(
    place: Place,
    made: Scene,
    connection: psycopg.AsyncConnection[dict[str, Any]],
    http: Connection,
    first: int,
) -> list[str]:
    async def by_hand() -> None:
        found = await (await connection.execute(_BY_HAND, [first])).fetchall()
        orjson.dumps(found)

    async def in_process() -> None:
        orjson.dumps(await made.world.ask(queries.FEED, first=first), default=str)

    async def over_http() -> None:
        if b'"errors"' in await http.ask(queries.FEED, {"first": first}):
            raise SystemExit("The feed has errors")

    sides: list[list[float]] = [[], [], []]
    for number in range(place.rounds + 1):
        for ask, times in zip((by_hand, in_process, over_http), sides, strict=True):
            found = await _median_ms(ask, place.seconds / 3)
            if number:
                times.append(found)
    return [
        str(first),
        *(markdown_tables.spread(times, ".2f") for times in sides),
        markdown_tables.spread(markdown_tables.ratios(sides[1], sides[0]), ".1f"),
        markdown_tables.spread(markdown_tables.ratios(sides[2], sides[0]), ".1f"),
    ]


async def _median_ms(ask: Ask, seconds: float) -> float:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until or not times:
        await ask()
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0)
    return median(times)
