"""Time each list of the schema over a history that grows tenfold."""

import asyncio
import time
from statistics import median

from bench import markdown_tables
from bench.listed_fields import field_queries
from bench.long_history import LongHistory, add_gifts, create_history
from bench.postgres_cluster import BenchCluster, recreate_database
from services.database import engine as database_engine
from tests.factories import World

_DATABASE = "growth"
_GIFTS, _MORE = 50_000, 450_000
_QUICK_GIFTS, _QUICK_MORE = 5_000, 45_000
_TIMES = 9
_SUMS = {
    "Tier.raised": '{ collective(slug: "long-0") { tiers { raised { value } } } }',
    "Query.orders totalCount": "{ orders(first: 1) { totalCount } }",
    "Query.transactions totalCount": "{ transactions(first: 1) { totalCount } }",
    "Query.communityStats ALL_TIME": "{ communityStats(period: ALL_TIME) { issued { value } } }",
    "Query.leaderboard ALL_TIME": "{ leaderboard(by: VOLUNTEER, period: ALL_TIME) { rank } }",
}


def run(cluster: BenchCluster) -> None:
    """Time every list at two sizes, in process."""
    recreate_database(cluster, _DATABASE)
    first, more = (_QUICK_GIFTS, _QUICK_MORE) if cluster.is_quick else (_GIFTS, _MORE)
    rows = asyncio.run(_measure(cluster, first, more))
    markdown_tables.print_table(
        "Growth: lists and sums over a history ten times as long",
        ["field", f"{2 * first:,} postings, ms", f"{2 * (first + more):,} postings, ms", "ratio"],
        rows,
        f"Medians of {_TIMES} requests in process, for the ADMIN of a collective with a third of all gifts.",
    )


async def _measure(cluster: BenchCluster, first: int, more: int) -> list[list[str]]:
    settings = cluster.settings(_DATABASE)
    engine = database_engine.create_pool(settings)
    try:
        world = await World.create(settings, database_engine.session_factory(engine))
        history = await create_history(world)
        add_gifts(history, first=1, count=first)
        account = await world.scalar(history.accounts)
        queries = field_queries(history, account) | _SUMS
        before = {name: await _time(history, query) for name, query in queries.items()}
        add_gifts(history, first=first + 1, count=more)
        after = {name: await _time(history, query) for name, query in queries.items()}
    finally:
        await engine.dispose()
    return [
        [name, f"{before[name]:.1f}", f"{after[name]:.1f}", f"{after[name] / before[name]:.1f}"]
        for name in sorted(queries, key=lambda name: -after[name] / before[name])
    ]


async def _time(history: LongHistory, query: str) -> float:
    seconds = []
    for _ in range(_TIMES + 1):
        started = time.perf_counter()
        await history.world.query(query, by=history.viewer)
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:]) * 1000
