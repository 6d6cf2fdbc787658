"""A worker: delivers mails and runs jobs, beside any number of others.

Jobs are procrastinate's, in the schema `jobs`; mails go by the outbox (docs/decisions). A job is claimed by
one worker, and a schedule queues it once for all of them. What a worker was doing when it died is taken up by
another as soon as its heartbeat is missed.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import psycopg
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted, ProcrastinateException
from procrastinate.jobs import Job, Status
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.core import tracing
from services.core.database_urls import to_psycopg_url
from services.core.settings import Settings
from services.database.engine import APP_ROLE, create_pool, session_factory
from services.database.job_queue import QUEUE
from services.jobs import schedule
from services.jobs.schedule import Work
from services.messaging import delivery
from services.providers import offered
from services.recurring.charging import CHARGES_AT_ONCE

JOBS_AT_ONCE = 3
CONNECTIONS = JOBS_AT_ONCE + CHARGES_AT_ONCE + len(delivery.LANES)
MAX_ATTEMPTS = 8
FIRST_RETRY_SECONDS = 30
HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = 30.0
"""Without a heartbeat for this long, a worker is dead and its jobs are another's."""
LOOK_SECONDS = 10.0
GRACE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 30.0
MAX_ERROR_LENGTH = 1_000
SCHEDULE_REACHES_BACK_SECONDS = 2 * 60 * 60
"""A job that was due this long ago, while no worker ran, is made up for."""
LOST = "the worker ended in the middle"
_NOTE_FAILURE = text("""
    INSERT INTO jobs.failure (job_id, error) VALUES (:job_id, :error)
    ON CONFLICT (job_id) DO UPDATE SET error = excluded.error, failed_at = now()""")

Sessions: TypeAlias = async_sessionmaker[AsyncSession]
log = logging.getLogger("commonweal.jobs")


async def run(settings: Settings, *, stop: asyncio.Event) -> None:
    """Work until `stop` is set; what runs then is given some seconds to end.

    Raises:
        ConfigurationError: the settings of mail are wrong.
    """
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    engine = create_pool(replace(settings, pool_size=CONNECTIONS))
    try:
        sessions = session_factory(engine)
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery.run(sessions, settings, stop=stop))
            group.create_task(_run_jobs(sessions, settings, stop=stop))
    finally:
        await offered.close(settings)
        await engine.dispose()


async def _run_jobs(sessions: Sessions, settings: Settings, *, stop: asyncio.Event) -> None:
    """Run jobs until `stop` is set; begin again, after a pause, if the database goes away."""
    pause = 1.0
    while not stop.is_set():
        app = create_app(sessions, settings)
        try:
            async with app.open_async():
                pause = 1.0
                await _work(app, sessions, stop)
        except (ProcrastinateException, psycopg.Error, OSError) as error:
            log.warning("jobs wait for the database: %s", type(error).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(pause * 2, MAX_PAUSE_SECONDS)


async def _work(app: App, sessions: Sessions, stop: asyncio.Event) -> None:
    """Run jobs until `stop` is set, or something of the library fails."""
    working = asyncio.create_task(
        app.run_worker_async(
            concurrency=JOBS_AT_ONCE,
            install_signal_handlers=False,
            shutdown_graceful_timeout=GRACE_SECONDS,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )
    )
    sweeping = asyncio.create_task(_take_up_lost_jobs(app, sessions))
    stopping = asyncio.create_task(stop.wait())
    tasks = (working, sweeping, stopping)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def create_app(sessions: Sessions, settings: Settings) -> App:
    """Return the library's application with all jobs, not opened yet."""
    options = f"-c role={APP_ROLE} -c search_path=jobs,pg_catalog -c timezone=UTC"
    url = to_psycopg_url(settings.database_url).set(drivername="postgresql")
    connector = PsycopgConnector(
        conninfo=url.render_as_string(hide_password=False),
        kwargs={"options": options, "connect_timeout": 5},
        min_size=1,
        max_size=JOBS_AT_ONCE,
    )
    app = App(connector=connector, periodic_defaults={"max_delay": SCHEDULE_REACHES_BACK_SECONDS})
    for job in schedule.list_periodic(sessions, settings):
        # One waits at most, and one runs at a time: a slow job is not overtaken by its next turn.
        task = app.task(
            name=job.name,
            queue=QUEUE,
            lock=job.name,
            queueing_lock=job.name,
            pass_context=True,
            retry=_Retry(max_attempts=0),
        )(_to_task(sessions, _without_arguments(job.work)))
        app.periodic(cron=job.cron)(task)
    for name, work in schedule.list_requested(sessions, settings).items():
        app.task(name=name, queue=QUEUE, pass_context=True, retry=_Retry(max_attempts=MAX_ATTEMPTS))(
            _to_task(sessions, work)
        )
    return app


def _without_arguments(work: Work) -> Work:
    async def run(**_: Any) -> None:  # the library passes the time at which it was due
        await work()

    return run


def _to_task(sessions: Sessions, work: Work) -> Any:
    """Return the library's form of a job, which notes why it failed."""

    async def run(context: Any, **arguments: Any) -> None:
        try:
            with tracing.job(context.job.task_name, job_id=context.job.id, attempt=context.job.attempts + 1):
                await work(**arguments)
        except Exception as error:
            await _note_failure(sessions, context.job.id, describe_error(error))
            raise

    return run


def describe_error(error: Exception) -> str:
    """Describe an error by its kind and the first line of its message: no statement, no values."""
    message = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message}".rstrip(": ")[:MAX_ERROR_LENGTH]


async def _note_failure(sessions: Sessions, job_id: int, error: str) -> None:
    with suppress(SQLAlchemyError, OSError):  # without a database, the failure itself tells enough
        async with sessions.begin() as session:
            await session.execute(_NOTE_FAILURE, {"job_id": job_id, "error": error})


class _Retry(BaseRetryStrategy):
    """Tries again what failed, later each time, and at once what a stopping worker broke off."""

    def __init__(self, *, max_attempts: int) -> None:
        self._max_attempts = max_attempts

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try a job again; None if it has failed for good."""
        if isinstance(exception, asyncio.CancelledError | JobAborted):
            return RetryDecision()
        if job.attempts + 1 >= self._max_attempts:
            return None
        return RetryDecision(retry_in={"seconds": FIRST_RETRY_SECONDS * 4**job.attempts})


async def _take_up_lost_jobs(app: App, sessions: Sessions) -> None:
    """Queue the jobs of dead workers again, repeatedly."""
    while True:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            await _take_up(app, sessions, job)
        await asyncio.sleep(LOOK_SECONDS)


async def _take_up(app: App, sessions: Sessions, job: Job) -> None:
    """Queue a job again, unless its next turn waits already, or it has ended too many workers."""
    assert job.id is not None
    finish = partial(app.job_manager.finish_job, job, delete_job=False)
    if job.attempts + 1 >= MAX_ATTEMPTS:
        await _note_failure(sessions, job.id, LOST)
        with suppress(ConnectorException):  # another worker was faster
            await finish(status=Status.FAILED)
        return
    try:
        await app.job_manager.retry_job(job)
    except ConnectorException:
        with suppress(ConnectorException):
            await finish(status=Status.ABORTED)
