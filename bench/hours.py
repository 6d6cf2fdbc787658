"""Approving hours in pages beside one by one over HTTP, and the weekly list on a long and a short history."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID

import orjson

from bench import markdown_tables
from bench.postgres_cluster import Place, execute, fresh_database, require_clean, scalar
from bench.server_process import Connection, serving
from services.core import public_ids
from services.database import engine as database_engine
from tests.factories import World
from tests.hours_world import TimeScene

_DATABASE = "hours"
_PAGE = 100
_VOLUNTEERS = 100
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
    f" FROM generate_series(1, {_VOLUNTEERS}) n"
)
# A quarter of an hour each, one after the other, as far into the past as they reach.
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


def run(place: Place) -> None:
    """Measure both."""
    fresh_database(place, _DATABASE)
    count = 1_000 if place.is_quick else 10_000
    rows: list[list[str]] = []
    weekly: list[list[str]] = []
    asyncio.run(_measure(place, count, rows, weekly))
    audit = require_clean(place, _DATABASE)
    markdown_tables.show(
        f"Approving {count:,} requested hours over HTTP, one process",
        ["approveOrders, orders/s", "approveOrder, orders/s", "ratio", "target", "reached"],
        rows,
        f"Pages of {_PAGE} beside single calls, {count // 10:,} orders a side in each of 10 rounds in turn;"
        f" one connection; no idempotency keys. Audit: {audit}.",
    )
    markdown_tables.show(
        "The weekly list of hours to approve, by the nonprofit's past orders",
        ["500 past orders, ms", "50,000 past orders, ms", "long ÷ short", "target", "reached"],
        weekly,
        "Medians and ranges of interleaved rounds of 50 requests over HTTP; 100 volunteers with 2 requests"
        " each wait at both. The number of statements is kept by `tests/resolvers/test_hour_reports.py`.",
    )


async def _measure(place: Place, count: int, rows: list[list[str]], weekly: list[list[str]]) -> None:
    engine = database_engine.connect(place.settings(_DATABASE))
    try:
        world = await World.create(place.settings(_DATABASE), database_engine.sessions(engine))
        busy = await TimeScene.create(world)
        short, long = [await TimeScene.create(world, suffix=suffix) for suffix in ("-short", "-long")]
        _fill(place, busy.nonprofit.id, "busy", pending=count // _VOLUNTEERS * 2)
        for scene, prefix, past in ((short, "short", 500), (long, "long", 50_000)):
            _fill(place, scene.nonprofit.id, prefix, pending=2)
            _past(place, scene.nonprofit.id, prefix, each=past // _VOLUNTEERS)
        execute(place, _DATABASE, "VACUUM (ANALYZE)", "CHECKPOINT")
        with serving(place, _DATABASE) as served:
            async with Connection(served, busy.chris.token) as http:
                rows.append(await _approved(place, http, busy.nonprofit.id, count))
            async with (
                Connection(served, short.chris.token) as first,
                Connection(served, long.chris.token) as second,
            ):
                weekly.append(await _listed(place, [(first, short), (second, long)]))
    finally:
        await engine.dispose()
    # Histories written by hand have no transactions: they are withdrawn from what the auditor reads.
    execute(
        place,
        _DATABASE,
        'ALTER TABLE "order" DISABLE TRIGGER order_status_guard',
        "UPDATE \"order\" SET status = 'REJECTED' WHERE status = 'PAID' AND NOT EXISTS"
        ' (SELECT FROM transaction t WHERE t.order_id = "order".id)',
    )


def _fill(place: Place, nonprofit: UUID, prefix: str, *, pending: int) -> None:
    execute(
        place,
        _DATABASE,
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


def _past(place: Place, nonprofit: UUID, prefix: str, *, each: int) -> None:
    execute(
        place,
        _DATABASE,
        _ORDERS.format(
            status="PAID",
            nonprofit=nonprofit,
            approved="250",
            prefix=prefix,
            each=each,
            skip=60,
        ),
    )


async def _approved(place: Place, http: Connection, nonprofit: UUID, count: int) -> list[str]:
    waiting = str(scalar(place, _DATABASE, _PENDING.format(nonprofit=nonprofit))).split()
    orders = [public_ids.encode("Order", UUID(text)) for text in sorted(waiting, key=lambda t: t[::-1])]
    many, one = orders[:count], orders[count : 2 * count]
    part = count // 10
    rates: tuple[list[float], list[float]] = ([], [])
    for start in range(0, count, part):
        rates[0].append(await _by_pages(http, many[start : start + part]))
        rates[1].append(await _by_one(http, one[start : start + part]))
    found = markdown_tables.ratios(*rates)
    return [
        markdown_tables.spread(rates[0], ".0f"),
        markdown_tables.spread(rates[1], ".0f"),
        markdown_tables.spread(found, ".1f"),
        f"≥ {_LEAST_RATIO:g}",
        markdown_tables.verdict(median(found), _LEAST_RATIO),
    ]


async def _by_pages(http: Connection, orders: Sequence[str]) -> float:
    started = time.perf_counter()
    for start in range(0, len(orders), _PAGE):
        page = orders[start : start + _PAGE]
        answer = orjson.loads(await http.ask(_MANY, {"i": {"ids": page}}))
        results = answer["data"]["approveOrders"]["results"]
        if [r["order"]["status"] for r in results] != ["PAID"] * len(page):
            raise SystemExit(f"Not approved: {answer}")
    return len(orders) / (time.perf_counter() - started)


async def _by_one(http: Connection, orders: Sequence[str]) -> float:
    started = time.perf_counter()
    for order_id in orders:
        answer = await http.ask(_ONE, {"i": {"id": order_id}})
        if b'"status":"PAID"' not in answer:
            raise SystemExit(f"Not approved: {answer!r}")
    return len(orders) / (time.perf_counter() - started)


async def _listed(place: Place, sides: list[tuple[Connection, TimeScene]]) -> list[str]:
    times: list[list[float]] = [[] for _ in sides]
    for number in range(place.rounds + 1):
        for (http, scene), found in zip(sides, times, strict=True):
            each = await _median_ms(http, scene)
            if number:
                found.append(each)
    ratio = markdown_tables.ratios(times[1], times[0])
    reached = "yes" if 1 / _TOLERANCE <= median(ratio) <= _TOLERANCE else "**no**"
    return [
        *(markdown_tables.spread(t, ".1f") for t in times),
        markdown_tables.spread(ratio),
        "0.83 to 1.20",
        reached,
    ]


async def _median_ms(http: Connection, scene: TimeScene) -> float:
    times = []
    for _ in range(50):
        started = time.perf_counter()
        answer = await http.ask(_WEEKS, {"s": scene.nonprofit.slug})
        times.append((time.perf_counter() - started) * 1000)
        if answer.count(b'"PENDING"') != 2 * _VOLUNTEERS:
            raise SystemExit(f"Not the list: {answer[:300]!r}")
    return median(times)
