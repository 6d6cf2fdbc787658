"""Approving a donation through GraphQL over HTTP, beside its posting alone through psycopg."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row

from bench import markdown_tables, queries
from bench.postgres_cluster import Place, execute, fresh_database, require_clean
from bench.server_process import Connection, Served, cpu_seconds, postgres_cpu_seconds, serving, spent
from bench.world import Scene, in_scene
from models import new_id
from services.core import public_ids
from services.database.engine import APP_ROLE
from tests.factories import money, of

_DATABASE = "approvals"
_CONNECTIONS = (1, 4, 16)
_PER_SECOND = 400
"""More than one process does: so many orders wait for approval for each second of measuring."""

_CLONE = """
WITH made AS (
    INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object('id', uuidv7()))).*
    FROM "order" o CROSS JOIN generate_series(1, %(copies)s) WHERE o.status = 'PENDING' RETURNING *
)
INSERT INTO order_action (id, order_id, type, actor_id, to_status, amount, at)
SELECT uuidv7(), id, 'CREATE', created_by_id, 'PENDING', amount, created_at FROM made"""
_PENDING = "SELECT id FROM \"order\" WHERE status = 'PENDING' ORDER BY md5(id::text)"
_APPROVED = """
SELECT to_jsonb(x.t) - '{at,created_at,xid,order_id}'::text[] AS row, array_agg(book_id) AS books,
    array_agg(owner_id) AS owners, array_agg(currency) AS currencies, array_agg(kind) AS kinds,
    array_agg(amount) AS amounts
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
    """What one side did, round by round."""

    rate: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)


def run(place: Place) -> None:
    """Measure approvals a second and what one costs, by connections."""
    fresh_database(place, _DATABASE)
    rows: list[list[str]] = []
    memory: list[float] = []
    in_scene(place, _DATABASE, lambda made: _measure(place, made, rows, memory))
    markdown_tables.show(
        "Approving a donation: GraphQL over HTTP on one process, beside its posting alone",
        [
            "connections",
            "approvals/s",
            "postings/s",
            "HTTP ÷ posting, time",
            "Python CPU, ms",
            "PostgreSQL CPU, ms",
            "PostgreSQL CPU of a posting, ms",
        ],
        rows,
        "An approval: sign-in checked, key claimed, order moved, two steps of history, posting, membership,"
        f" mails queued; durable. {place.rounds} interleaved rounds of {place.seconds:g} s a side; CPU times"
        f" are of the processes, an operation. The server's resident memory: {memory[0]:.0f} MiB at its"
        f" start, {memory[1]:.0f} MiB after. Audit: {require_clean(place, _DATABASE)}.",
    )


async def _measure(place: Place, made: Scene, rows: list[list[str]], memory: list[float]) -> None:
    await _pending_donations(place, made)
    with serving(place, _DATABASE) as served:
        memory.append(served.resident_mib)
        async with await psycopg.AsyncConnection.connect(
            place.database_url(_DATABASE), autocommit=True
        ) as owner:
            waiting = [row[0] async for row in await owner.execute(_PENDING)]
        orders = iter(waiting)
        first = next(orders)
        async with Connection(served, made.holder.token) as http:
            await _approve(http, first)
        for connections in _CONNECTIONS:
            rows.append(await _compared(place, made, served, orders, connections))  # noqa: PERF401 - in turn
        memory.append(served.resident_mib)


async def _pending_donations(place: Place, made: Scene) -> None:
    for giver, row in zip(made.givers, made.collectives, strict=True):
        given: dict[str, Any] = {"from": of(giver), "to": of(row), "amount": money("20.00")}
        await made.world.do("donate", by=giver, paymentMethod="MANUAL", **given)
    wanted = _PER_SECOND * place.seconds * (place.rounds + 1) * len(_CONNECTIONS)
    copies = round(wanted / len(made.givers))
    execute(place, _DATABASE, _CLONE.replace("%(copies)s", str(copies)), "VACUUM (ANALYZE)", "CHECKPOINT")


async def _compared(
    place: Place, made: Scene, served: Served, orders: Iterator[UUID], connections: int
) -> list[str]:
    http, alone = _Side(), _Side()
    async with AsyncExitStack() as stack:
        approving = [
            _approver(await stack.enter_async_context(Connection(served, made.holder.token)), orders)
            for _ in range(connections)
        ]
        posting = [await _poster(place, stack, number) for number in range(connections)]
        for number in range(place.rounds + 1):
            for side, work in ((http, approving), (alone, posting)):
                await _round(place, served, side if number else _Side(), work)
    return [
        str(connections),
        markdown_tables.spread(http.rate, ".0f"),
        markdown_tables.spread(alone.rate, ".0f"),
        markdown_tables.spread(markdown_tables.ratios(alone.rate, http.rate), ".1f"),
        markdown_tables.spread(http.server_ms, ".2f"),
        markdown_tables.spread(http.postgres_ms, ".2f"),
        markdown_tables.spread(alone.postgres_ms, ".2f"),
    ]


async def _round(place: Place, served: Served, side: _Side, work: list[Work]) -> None:
    """Let all connections work for the seconds of a round; note the rate and the processor times."""
    server, postgres = cpu_seconds(served.pid), postgres_cpu_seconds(place)
    started = time.perf_counter()
    counts = await asyncio.gather(*(_until(started + place.seconds, each) for each in work))
    elapsed, done = time.perf_counter() - started, sum(counts)
    side.rate.append(done / elapsed)
    side.server_ms.append((cpu_seconds(served.pid) - server) / done * 1000)
    side.postgres_ms.append(spent(postgres, postgres_cpu_seconds(place)) / done * 1000)


async def _until(end: float, work: Work) -> int:
    for count in itertools.count(1):
        await work()
        if time.perf_counter() >= end:
            return count
    raise AssertionError("unreachable")


def _approver(http: Connection, orders: Iterator[UUID]) -> Work:
    async def work() -> None:
        order_id = next(orders, None)
        if order_id is None:
            raise SystemExit("All orders are approved: raise _PER_SECOND")
        await _approve(http, order_id)

    return work


async def _approve(http: Connection, order_id: UUID) -> None:
    given = {"id": public_ids.encode("Order", order_id), "idempotencyKey": f"bench-{order_id}"}
    answer = await http.ask(queries.APPROVE, {"i": given})
    if b'"status":"PAID"' not in answer:
        raise SystemExit(f"Not approved: {answer!r}")


async def _poster(place: Place, stack: AsyncExitStack, number: int) -> Work:
    """Return what posts the transaction of an approved donation again, without its order."""
    connection = await stack.enter_async_context(
        await psycopg.AsyncConnection.connect(
            place.database_url(_DATABASE, role=APP_ROLE), autocommit=True, prepare_threshold=0
        )
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        found = await (await cursor.execute(_APPROVED)).fetchall()
    given: dict[str, Any] = found[number % len(found)]
    row = given.pop("row")

    async def work() -> None:
        row["id"] = row["group_id"] = str(new_id())
        await connection.execute(_POST, {**given, "row": orjson.dumps(row).decode()})

    return work
