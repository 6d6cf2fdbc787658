"""Charge recurring gifts that are due: one worker, then four of which one is killed in the middle."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster, execute, recreate_database, require_clean, scalar
from models import RecurringGift, now
from models.enums import GiftInterval, PaymentMethodKind
from services.core.settings import Settings
from services.database import engine as database_engine
from services.recurring import charging, periods
from tests.donation_world import DonationScene
from tests.factories import World

_DATABASE = "gifts"
_PAYERS = 20
_WORKERS = 4
_AGE_DAYS = 33
"""Since then the gifts have two periods that are due, whatever the month; none is charged before its day."""
_LEAST_PER_SECOND = 200
_CHARGED = "SELECT count(*) FROM \"order\" WHERE status = 'PAID' AND period IS NOT NULL"
_TWICE = """SELECT count(*) FROM (SELECT FROM "order" WHERE period IS NOT NULL
    GROUP BY subscription_id, period HAVING count(*) > 1) x"""


def run(cluster: BenchCluster) -> None:
    """Measure the charges of one worker, and count those of four."""
    count = 400 if cluster.is_quick else 10_000
    recreate_database(cluster, _DATABASE)
    asyncio.run(_prepare(cluster, count))
    execute(cluster, _DATABASE, "VACUUM (ANALYZE)", "CHECKPOINT")
    started = time.monotonic()
    _start(cluster, days_ago=_AGE_DAYS - 1).wait()
    per_second = count / (time.monotonic() - started)
    _require(cluster, count)
    workers = [_start(cluster, days_ago=0) for _ in range(_WORKERS)]
    while _count(cluster, _CHARGED) < count * 3 // 2:
        time.sleep(0.05)
    workers[0].send_signal(signal.SIGKILL)
    for worker in workers:
        worker.wait()
    _require(cluster, 2 * count)
    markdown_tables.print_table(
        f"Charging {count:,} recurring gifts that are due, from balances",
        ["one worker, orders/s", "target", "reached", "four workers, one killed"],
        [
            [
                f"{per_second:.0f}",
                f"≥ {_LEAST_PER_SECOND}",
                markdown_tables.format_verdict(per_second, _LEAST_PER_SECOND),
                f"{count:,} orders, none twice",
            ]
        ],
        f"Gifts of {_PAYERS} payers to one collective, each charge a transaction of its own; with the start"
        f" of the worker's process. Audit: {require_clean(cluster, _DATABASE)}.",
    )


def _count(cluster: BenchCluster, statement: str) -> int:
    return int(str(scalar(cluster, _DATABASE, statement)))


def _require(cluster: BenchCluster, count: int) -> None:
    """Require that so many periods are paid, each once.

    Raises:
        SystemExit: they are not.
    """
    charged, twice = _count(cluster, _CHARGED), _count(cluster, _TWICE)
    if (charged, twice) != (count, 0):
        raise SystemExit(f"{charged} of {count} periods are paid, {twice} of them twice")


async def _prepare(cluster: BenchCluster, count: int) -> None:
    """Store gifts that were due first some days ago, and a month later again."""
    engine = database_engine.create_pool(cluster.settings(_DATABASE))
    try:
        world = await World.create(cluster.settings(_DATABASE), database_engine.session_factory(engine))
        scene = await DonationScene.create(world)
        payers = [await scene.community(f"payer-{number}", scene.host) for number in range(_PAYERS)]
        for payer in payers:
            await world.fund(payer, "1000000.00", by=scene.holder)
        start = now().date() - timedelta(days=_AGE_DAYS)
        async with world.sessions() as session, session.begin():
            session.add_all(
                RecurringGift(
                    from_id=payers[number % _PAYERS].id,
                    to_id=scene.babel.id,
                    currency="USD",
                    amount_minor=1000,
                    interval=GiftInterval.MONTH,
                    anchor_day=start.day,
                    timezone="UTC",
                    payment_method_kind=PaymentMethodKind.BALANCE,
                    starts_on=start,
                    next_charge_on=start,
                    due_at=periods.begin_of(start, "UTC"),
                    created_by_id=scene.giver.user.id,
                )
                for number in range(count)
            )
    finally:
        await engine.dispose()


def _start(cluster: BenchCluster, *, days_ago: int) -> subprocess.Popen[bytes]:
    """Start a process that charges what was due so many days ago."""
    url = cluster.settings(_DATABASE).database_url
    command = [sys.executable, "-m", "bench.gifts", str(days_ago)]
    return subprocess.Popen(command, env={**os.environ, "COMMONWEAL_DATABASE_URL": url})


async def _work(days_ago: int) -> None:
    settings = Settings(database_url=os.environ["COMMONWEAL_DATABASE_URL"])
    engine = database_engine.create_pool(settings)
    try:
        at = datetime.now(UTC) - timedelta(days=days_ago)
        await charging.charge_due(database_engine.session_factory(engine), at=at)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(_work(int(sys.argv[1])))
