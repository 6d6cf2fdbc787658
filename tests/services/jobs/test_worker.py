"""A worker: schedules run once for all, failures are noted, and nothing stays with a worker that died."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from procrastinate.schema import SchemaManager

from services.core.settings import Settings
from services.database import job_queue
from services.jobs import schedule, worker
from services.jobs.schedule import EVERY_MINUTE, PeriodicJob
from tests.factories import World
from tests.job_world import Sessions, add_job, change_status, execute, load_statuses

SECONDS = 30
SCHEMA_SHA256 = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"
DONE = "SELECT count(*) FROM jobs.procrastinate_jobs WHERE task_name = :name AND status = 'succeeded'"


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def working(settings: Settings, *, count: int = 1) -> AsyncIterator[None]:
    """Run workers."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(worker.run(settings, stop=stop)) for _ in range(count)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)


def plan(
    monkeypatch: pytest.MonkeyPatch,
    *,
    periodic: dict[str, Callable[[], Awaitable[object]]] | None = None,
    requested: dict[str, Callable[..., Awaitable[object]]] | None = None,
) -> None:
    """Replace the jobs of the schedule."""
    jobs = [PeriodicJob(name, EVERY_MINUTE, work) for name, work in (periodic or {}).items()]
    monkeypatch.setattr(schedule, "list_periodic", lambda *_: jobs)
    monkeypatch.setattr(schedule, "list_requested", lambda *_: requested or {})


def test_the_tables_are_those_of_the_installed_library() -> None:
    """A version with other tables needs a revision of ours with the library's own migrations."""
    assert sha256(SchemaManager.get_schema().encode()).hexdigest() == SCHEMA_SHA256


async def test_everything_that_is_due_is_done(world: World) -> None:
    async with working(world.settings):
        for name in ("expire_orders", "close_check_ins", "prune_live_events", "audit_ledger"):
            await until(partial(scalar, world.sessions, DONE, name=name))
    assert await scalar(world.sessions, "SELECT count(*) FROM jobs.failure") == 0
    assert await scalar(world.sessions, "SELECT count(*) FROM jobs.procrastinate_workers") == 0


async def scalar(sessions: Sessions, statement: str, **parameters: Any) -> Any:
    ((value,),) = await execute(sessions, statement, **parameters)
    return value


async def test_several_workers_run_a_schedule_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    async def work() -> None:
        ran.append("ran")

    plan(monkeypatch, periodic={"each_minute": work})
    async with working(world.settings, count=3):
        await until(lambda: scalar(world.sessions, DONE, name="each_minute"))
        await until(lambda: _has(world.sessions, 3))
    turns = "SELECT count(*), count(DISTINCT args ->> 'timestamp') FROM jobs.procrastinate_jobs"
    ((count, distinct),) = await execute(world.sessions, turns)
    assert len(ran) == count == distinct  # two, if a minute began meanwhile


async def _has(sessions: Sessions, workers: int) -> bool:
    return bool(await scalar(sessions, "SELECT count(*) FROM jobs.procrastinate_workers") >= workers)


async def test_a_failure_is_noted_without_values_and_tried_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(secret: str) -> None:
        async with world.sessions() as session:
            await session.connection()
        await execute(world.sessions, "SELECT 1 / 0 WHERE :secret = 'hidden'", secret=secret)

    plan(monkeypatch, requested={"fails": work})
    async with world.sessions.begin() as session:
        await job_queue.add_job(session, name="fails", arguments={"secret": "hidden"})
    async with working(world.settings):
        await until(lambda: scalar(world.sessions, "SELECT count(*) FROM jobs.failure"))
        waits = "SELECT count(*) FROM jobs.procrastinate_jobs WHERE status = 'todo' AND scheduled_at > now()"
        await until(lambda: scalar(world.sessions, waits))
    error = await scalar(world.sessions, "SELECT error FROM jobs.failure")
    assert "division by zero" in error
    assert "hidden" not in error
    assert "SELECT" not in error


async def test_a_job_is_queued_with_its_transaction_or_not_at_all(world: World) -> None:
    for commits in (False, True):
        async with world.sessions() as session:
            await job_queue.add_job(session, name="make_export", arguments={"export_id": "x"})
            if commits:
                await session.commit()
        assert len(await load_statuses(world.sessions)) == int(commits)


async def test_the_job_of_a_dead_worker_is_done_by_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    plan(monkeypatch, periodic={"lost": work})
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.05)
    lost, alone = await add_job(world.sessions, "lost", lock="lost"), await add_job(world.sessions, "lost")
    for job_id in (lost, alone):
        await change_status(world.sessions, job_id, "doing")
    await execute(
        world.sessions,
        "WITH dead AS (INSERT INTO jobs.procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '1 hour') RETURNING id)"
        " UPDATE jobs.procrastinate_jobs SET worker_id = dead.id FROM dead",
    )
    async with working(world.settings):
        await asyncio.wait_for(done.wait(), SECONDS)
        await until(lambda: _ended(world.sessions, lost, alone))


async def _ended(sessions: Sessions, *job_ids: int) -> bool:
    statuses = await load_statuses(sessions)
    return all(statuses[job_id] in {"succeeded", "aborted"} for job_id in job_ids)


async def test_a_job_that_ends_every_worker_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(monkeypatch)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.05)
    job_id = await add_job(world.sessions, "deadly")
    await execute(world.sessions, "UPDATE jobs.procrastinate_jobs SET attempts = 7, status = 'doing'")
    async with working(world.settings):
        await until(lambda: scalar(world.sessions, "SELECT count(*) FROM jobs.failure"))
        await until(lambda: _is(world.sessions, job_id, "failed"))
    assert await scalar(world.sessions, "SELECT error FROM jobs.failure") == worker.LOST


async def _is(sessions: Sessions, job_id: int, status: str) -> bool:
    return (await load_statuses(sessions))[job_id] == status


async def test_what_a_stopping_worker_breaks_off_waits_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def work() -> None:
        reached.set()
        await asyncio.Event().wait()

    plan(monkeypatch, requested={"long": work})
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.05)
    job_id = await add_job(world.sessions, "long")
    async with working(world.settings):
        await asyncio.wait_for(reached.wait(), SECONDS)
    assert await load_statuses(world.sessions) == {job_id: "todo"}
