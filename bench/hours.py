"""Compare approving hours in pages and one by one, and weekly lists of short and long histories."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID

import orjson

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster, execute, recreate_database, require_clean, scalar
from bench.server_process import Connection, run_server
from services.core import public_ids
from services.database import engine as database_engine
from tests.factories import World
from tests.hours_world import HoursScene

_DATABASE = "hours"
_PAGE = 100
VOLUNTEERS = 100
_LEAST_RATIO = 4.0
_TOLERANCE = 1.2

_ONE = "mutation($i: ApproveOrderInput!) { approveOrder(input: $i) { order { id status } errors { code } } }"
_MANY = """mutation($i: ApproveOrdersInput!) { approveOrders(input: $i) {
    results { id order { id status } errors { code } } errors { code } } }"""
_WEEKS = """query($s: String!) { collective(slug: $s) { ... on Nonprofit { hoursToApprove(first: 100) {
    week volunteer { slug name } amount { value } orders { id status startsAt endsAt } } } } }"""

_PEOPLE = (
    "INSERT INTO collective (id, slug, type, name, currency, claimed_at)"
    " SELECT uuidv7(), '{prefix}-' || n, 'USER', 'Volunteer ' || n, 'USD', now()"
    f" FROM generate_series(1, {VOLUNTEERS}) n"
)
# A quarter of an hour each, one after another, counted back from the current hour.
_ORDERS = (
    'INSERT INTO "order" (id, type, status, created_by_id, from_id, to_id, currency, amount, approved_amount,'
    " platform_fee_bps, policy_id, has_public_side, starts_at, ends_at, created_at, import_key)"
    " SELECT uuidv7(), 'HOURS', '{status}', c.id, '{nonprofit}', c.id, 'CUR', 250, {approved}, 0,"
    " (SELECT id FROM platform_policy LIMIT 1), false,"
    " date_trunc('hour', now()) - interval '{skip} minutes' - n * interval '15 minutes',"
    " date_trunc('hour', now()) - interval '{skip} minutes' - (n - 1) * interval '15 minutes', now(), NULL"
    " FROM collective c CROSS JOIN generate_series(1, {each}) n WHERE c.slug LIKE '{prefix}-%'"
)
_PENDING = (
    "SELECT string_agg(id::text, ' ') FROM \"order\" WHERE status = 'PENDING' AND from_id = '{nonprofit}'"
)


def run(cluster: BenchCluster) -> None:
    """Measure the approvals and the weekly list."""
    recreate_database(cluster, _DATABASE)
    count = 1_000 if cluster.is_quick else 10_000
    rows: list[list[str]] = []
    weekly: list[list[str]] = []
    asyncio.run(_measure(cluster, count, rows, weekly))
    audit = require_clean(cluster, _DATABASE)
    markdown_tables.print_table(
        f"Approving {count:,} requested hours over HTTP, one process",
        ["approveOrders, orders/s", "approveOrder, orders/s", "ratio", "target", "reached"],
        rows,
        f"Pages of {_PAGE} beside single calls, {count // 10:,} orders a side in each of 10 rounds in turn;"
        f" one connection; no idempotency keys. Audit: {audit}.",
    )
    markdown_tables.print_table(
        "The weekly list of hours to approve, by the nonprofit's past orders",
        ["500 past orders, ms", "50,000 past orders, ms", "long ÷ short", "target", "reached"],
        weekly,
        "Medians and ranges of interleaved rounds of 50 requests over HTTP; 100 volunteers with 2 requests"
        " each wait at both. The number of statements is kept by `tests/resolvers/test_hour_reports.py`.",
    )


async def _measure(cluster: BenchCluster, count: int, rows: list[list[str]], weekly: list[list[str]]) -> None:
    engine = database_engine.create_pool(cluster.settings(_DATABASE))
    try:
        world = await World.create(cluster.settings(_DATABASE), database_engine.session_factory(engine))
        busy = await HoursScene.create(world)
        short, long = [await HoursScene.create(world, suffix=suffix) for suffix in ("-short", "-long")]
        insert_volunteers(cluster, _DATABASE, busy.nonprofit.id, "busy", pending=count // VOLUNTEERS * 2)
        for scene, prefix, past in ((short, "short", 500), (long, "long", 50_000)):
            insert_volunteers(cluster, _DATABASE, scene.nonprofit.id, prefix, pending=2)
            _insert_past_orders(cluster, scene.nonprofit.id, prefix, each=past // VOLUNTEERS)
        execute(cluster, _DATABASE, "VACUUM (ANALYZE)", "CHECKPOINT")
        with run_server(cluster, _DATABASE) as server:
            async with Connection(server, busy.chris.token) as http:
                rows.append(await _compare_approvals(cluster, http, busy.nonprofit.id, count))
            async with (
                Connection(server, short.chris.token) as first,
                Connection(server, long.chris.token) as second,
            ):
                weekly.append(await _compare_weekly_lists(cluster, [(first, short), (second, long)]))
    finally:
        await engine.dispose()
    # Orders inserted by hand have no transactions, so they are rejected before the audit reads them.
    execute(
        cluster,
        _DATABASE,
        'ALTER TABLE "order" DISABLE TRIGGER order_status_guard',
        "UPDATE \"order\" SET status = 'REJECTED' WHERE status = 'PAID' AND NOT EXISTS"
        ' (SELECT FROM transaction t WHERE t.order_id = "order".id)',
    )


def insert_volunteers(
    cluster: BenchCluster, database: str, nonprofit: UUID, prefix: str, *, pending: int
) -> None:
    """Insert volunteers with hours that wait for their approval, without creating the orders one by one."""
    execute(
        cluster,
        database,
        _PEOPLE.format(prefix=prefix),
        _ORDERS.format(
            status="PENDING",
            nonprofit=nonprofit,
            approved="NULL",
            prefix=prefix,
            each=pending,
            skip=0,
        ),
    )


def _insert_past_orders(cluster: BenchCluster, nonprofit: UUID, prefix: str, *, each: int) -> None:
    execute(
        cluster,
        _DATABASE,
        'ALTER TABLE "order" DISABLE TRIGGER paid_order_guard',
        _ORDERS.format(
            status="PAID",
            nonprofit=nonprofit,
            approved="250",
            prefix=prefix,
            each=each,
            skip=60,
        ),
        'ALTER TABLE "order" ENABLE ALWAYS TRIGGER paid_order_guard',
    )


async def _compare_approvals(
    cluster: BenchCluster, http: Connection, nonprofit: UUID, count: int
) -> list[str]:
    waiting = str(scalar(cluster, _DATABASE, _PENDING.format(nonprofit=nonprofit))).split()
    orders = [public_ids.encode("Order", UUID(text)) for text in sorted(waiting, key=lambda t: t[::-1])]
    many, one = orders[:count], orders[count : 2 * count]
    part = count // 10
    rates: tuple[list[float], list[float]] = ([], [])
    for start in range(0, count, part):
        rates[0].append(await _by_pages(http, many[start : start + part]))
        rates[1].append(await _by_one(http, one[start : start + part]))
    result = markdown_tables.compute_ratios(*rates)
    return [
        markdown_tables.format_spread(rates[0], ".0f"),
        markdown_tables.format_spread(rates[1], ".0f"),
        markdown_tables.format_spread(result, ".1f"),
        f"≥ {_LEAST_RATIO:g}",
        markdown_tables.format_verdict(median(result), _LEAST_RATIO),
    ]


async def _by_pages(http: Connection, orders: Sequence[str]) -> float:
    started = time.perf_counter()
    for start in range(0, len(orders), _PAGE):
        page = orders[start : start + _PAGE]
        answer = orjson.loads(await http.query(_MANY, {"i": {"ids": page}}))
        results = answer["data"]["approveOrders"]["results"]
        if [r["order"]["status"] for r in results] != ["PAID"] * len(page):
            raise SystemExit(f"Not approved: {answer}")
    return len(orders) / (time.perf_counter() - started)


async def _by_one(http: Connection, orders: Sequence[str]) -> float:
    started = time.perf_counter()
    for order_id in orders:
        answer = await http.query(_ONE, {"i": {"id": order_id}})
        if b'"status":"PAID"' not in answer:
            raise SystemExit(f"Not approved: {answer!r}")
    return len(orders) / (time.perf_counter() - started)


async def _compare_weekly_lists(
    cluster: BenchCluster, sides: list[tuple[Connection, HoursScene]]
) -> list[str]:
    times: list[list[float]] = [[] for _ in sides]
    for number in range(cluster.rounds + 1):
        for (http, scene), result in zip(sides, times, strict=True):
            each = await _median_ms(http, scene)
            if number:
                result.append(each)
    ratio = markdown_tables.compute_ratios(times[1], times[0])
    reached = "yes" if 1 / _TOLERANCE <= median(ratio) <= _TOLERANCE else "**no**"
    return [
        *(markdown_tables.format_spread(t, ".1f") for t in times),
        markdown_tables.format_spread(ratio),
        "0.83 to 1.20",
        reached,
    ]


async def _median_ms(http: Connection, scene: HoursScene) -> float:
    times = []
    for _ in range(50):
        started = time.perf_counter()
        answer = await http.query(_WEEKS, {"s": scene.nonprofit.slug})
        times.append((time.perf_counter() - started) * 1000)
        if answer.count(b'"PENDING"') != 2 * VOLUNTEERS:
            raise SystemExit(f"Not the weekly list: {answer[:300]!r}")
    return median(times)
