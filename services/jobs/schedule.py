"""The jobs of a worker: what each does, and when. Their names are those that `jobs` shows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.access import rate_limits
from services.approvals import decisions
from services.collectives import erasure
from services.core import file_stores
from services.core.file_stores import FileStore
from services.core.settings import Settings
from services.jobs import retention
from services.ledger import audit_job, ecb_rates
from services.live import event_log
from services.orders import (
    erased_files,
    export_making,
    monthly_settlements,
    personal_exports,
    provider_refunds,
)
from services.payments import charges, intake, processing, returned, taking_up, uncovered, waiting
from services.providers.offered import Providers, offered
from services.recurring import charging
from services.recurring.charge_methods import CHARGE_JOB
from services.volunteering import check_in_closing

MAX_ROUNDS = 100
"""Batches of a job that may find more in the next; what is left waits for its next run."""

RATE_DAYS_AT_ONCE = 50
RATE_PAUSES = 4
"""How much longer the import of older rates pauses than it works."""

Sessions: TypeAlias = async_sessionmaker[AsyncSession]
Work: TypeAlias = Callable[..., Awaitable[object]]


@dataclass(frozen=True)
class PeriodicJob:
    """A job that runs at the times of a cron expression, once for all workers."""

    name: str
    cron: str
    work: Callable[[], Awaitable[object]]


EVERY_MINUTE, EVERY_FIVE_MINUTES = "* * * * *", "*/5 * * * *"
OFTEN_MINUTES = 10
"""Audits at a shorter interval than this are looked for every minute."""


def list_periodic(sessions: Sessions, settings: Settings) -> list[PeriodicJob]:
    """Return the jobs that run by the clock. The hourly ones have minutes of their own."""
    rounds = partial(_run_rounds, sessions)
    exports, files = settings.data_dir / "exports", file_stores.open_store(settings)
    prunings = retention.list_prunings(sessions, settings)
    return [
        PeriodicJob("close_check_ins", EVERY_MINUTE, partial(rounds, check_in_closing.close_ended)),
        PeriodicJob("expire_orders", EVERY_MINUTE, partial(rounds, decisions.expire_due_orders)),
        PeriodicJob("charge_gifts", EVERY_MINUTE, partial(charging.charge_due, sessions)),
        PeriodicJob(
            "prune_live_events", EVERY_MINUTE, partial(_prune_events, sessions, hours=settings.live_hours)
        ),
        PeriodicJob(
            "prune_rate_limits",
            EVERY_FIVE_MINUTES,
            partial(_run_once, sessions, partial(rate_limits.delete_full_buckets, settings=settings)),
        ),
        PeriodicJob(
            "cancel_unpaid_payments",
            EVERY_FIVE_MINUTES,
            partial(waiting.cancel_unpaid, sessions, offered(settings)),
        ),
        PeriodicJob(
            "queue_provider_work_again",
            EVERY_FIVE_MINUTES,
            partial(taking_up.queue_again, sessions, offered(settings)),
        ),
        PeriodicJob("post_uncovered", EVERY_FIVE_MINUTES, partial(uncovered.post_waiting, sessions)),
        PeriodicJob(
            "delete_exports",
            EVERY_FIVE_MINUTES,
            partial(_run_once, sessions, partial(personal_exports.delete_expired, folder=exports)),
        ),
        PeriodicJob(
            "audit_ledger",
            EVERY_MINUTE if settings.audit_interval_minutes < OFTEN_MINUTES else EVERY_FIVE_MINUTES,
            partial(audit_job.run_if_due, settings),
        ),
        PeriodicJob("settle_months", "11 * * * *", partial(monthly_settlements.make_due, sessions)),
        PeriodicJob(
            "delete_erased_files",
            "7 * * * *",
            partial(erased_files.delete_erased_files, sessions, files=files),
        ),
        PeriodicJob(
            "erase_unclaimed",
            "17 * * * *",
            partial(rounds, partial(erasure.erase_unclaimed, days=settings.unclaimed_days)),
        ),
        *(
            PeriodicJob(name, f"{27 + 3 * number} * * * *", work)
            for number, (name, work) in enumerate(prunings.items())
        ),
    ]


def list_requested(sessions: Sessions, settings: Settings) -> dict[str, Work]:
    """Return the jobs that others queue, by name; their arguments are those of the queue."""
    providers = offered(settings)
    return {
        personal_exports.JOB: partial(
            _make_export,
            sessions,
            folder=settings.data_dir / "exports",
            files=file_stores.open_store(settings),
        ),
        intake.JOB: partial(_process_event, sessions, providers),
        ecb_rates.OLDER_RATES_JOB: partial(_import_older_rates, sessions),
        provider_refunds.SEND_JOB: partial(_send_refund, sessions, providers),
        CHARGE_JOB: partial(_charge_card, sessions, providers),
    }


async def _process_event(sessions: Sessions, providers: Providers, *, event_id: str) -> None:
    await processing.process(sessions, providers, event_id=UUID(event_id))


async def _send_refund(sessions: Sessions, providers: Providers, *, refund_id: str) -> None:
    await returned.send(sessions, providers, refund_id=UUID(refund_id))


async def _charge_card(sessions: Sessions, providers: Providers, *, order_id: str) -> None:
    await charges.charge(sessions, providers, order_id=UUID(order_id))


async def _import_older_rates(sessions: Sessions) -> None:
    """Import years of rates in small parts with pauses between: requests need the processors more."""
    archive = await asyncio.to_thread(ecb_rates.read_packaged_history)
    history = await asyncio.to_thread(ecb_rates.open_history, archive)
    added = 1
    while added:
        started = time.monotonic()
        async with sessions.begin() as session:
            added = await ecb_rates.import_older_rates(session, history, max_days=RATE_DAYS_AT_ONCE)
        await asyncio.sleep(RATE_PAUSES * (time.monotonic() - started))


async def _make_export(sessions: Sessions, *, folder: Path, files: FileStore, export_id: str) -> None:
    await export_making.make(sessions, export_id=UUID(export_id), folder=folder, files=files)


async def _run_once(sessions: Sessions, job: Callable[[AsyncSession], Awaitable[object]]) -> None:
    async with sessions.begin() as session:
        await job(session)


async def _run_rounds(sessions: Sessions, job: Callable[[AsyncSession], Awaitable[int]]) -> None:
    """Run a job in transactions of its own until it finds nothing."""
    for _ in range(MAX_ROUNDS):
        async with sessions.begin() as session:
            if not await job(session):
                return


async def _prune_events(sessions: Sessions, *, hours: int) -> None:
    for _ in range(MAX_ROUNDS):
        async with sessions.begin() as session:
            await event_log.delete_old_events(session, hours=hours)
        async with sessions.begin() as session:
            if not await event_log.has_old_events(session, hours=hours):
                return
