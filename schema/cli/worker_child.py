"""The worker that a server starts as its child, starts again if it ends, and ends with itself."""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.core.settings import Settings

CHILD = "--child"
"""Argument of a child: it ends when its standard input does, as it does when its parent dies."""
COMMAND = (sys.executable, "-m", "schema.cli.worker", CHILD)
STOP_SECONDS = 15
"""For what the worker is doing; it gives its own work less than this."""
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0

log = logging.getLogger("commonweal.jobs")


@asynccontextmanager
async def run_worker(settings: Settings) -> AsyncIterator[None]:
    """Keep a worker running beside what follows, if the settings say so."""
    if settings.worker != "child":
        yield
        return
    keeping = asyncio.create_task(_keep(settings))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(settings: Settings) -> None:
    """Start the worker whenever it is not running; later each time, if it does not last."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        started = time.monotonic()
        process = await _start(settings)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        lasted = time.monotonic() - started
        pause = FIRST_PAUSE_SECONDS if lasted > MAX_PAUSE_SECONDS else min(pause * 2, MAX_PAUSE_SECONDS)
        log.error("the worker ended with code %s; another is started in %.0f s", code, pause)
        await asyncio.sleep(pause)


async def _start(settings: Settings) -> Process:
    known = {
        "database_url": settings.database_url,
        "owner_database_url": settings.owner_database_url,
        "port": str(settings.port),  # in the links of mails
    }
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=PIPE,
        env=os.environ | {f"COMMONWEAL_{name.upper()}": value for name, value in known.items()},
        start_new_session=True,  # a Ctrl-C in the terminal is for the server, which ends the worker
    )


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
