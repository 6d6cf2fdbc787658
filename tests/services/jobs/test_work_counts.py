"""The figures of what waits."""

import math

from services.jobs import work_counts
from tests.factories import World
from tests.job_world import add_failed_job, add_job, change_status, execute, make_older
from tests.mail_world import queue_mails


async def test_they_tell_what_waits_for_how_long_and_who_works(world: World) -> None:
    async with world.sessions() as session:
        idle = await work_counts.load(session)
    assert (idle.jobs_age_seconds, idle.workers, idle.heartbeat_age_seconds) == (0, 0, math.inf)
    await queue_mails(world.sessions, "ada", "bea")
    old, running = await add_job(world.sessions), await add_job(world.sessions)
    await make_older(world.sessions, old, days=1)
    await change_status(world.sessions, running, "doing")
    await add_failed_job(world.sessions)
    await execute(
        world.sessions,
        "INSERT INTO jobs.procrastinate_workers (last_heartbeat) VALUES (now()), (now() - interval '1 hour')",
    )
    async with world.sessions() as session:
        counts = await work_counts.load(session)
    assert counts.mails_waiting == 2
    assert (counts.mails_age_seconds["account"] > 0, counts.mails_age_seconds["other"]) == (True, 0)
    assert counts.jobs == {"queued": 1, "running": 1, "failed": 1}
    assert counts.jobs_age_seconds >= 86_400
    assert counts.workers == 1
    assert counts.heartbeat_age_seconds < 3600
