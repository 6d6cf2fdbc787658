"""A worker's process: `commonweal worker`, or the child of a server. It loads nothing of the API."""

import asyncio
import os
import signal
import sys
from threading import Thread

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from schema.cli.worker_child import CHILD
from schema.observability import logs
from services.core import settings as environment
from services.core import tracing
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import catalogue
from services.database import engine as database_engine
from services.jobs import worker


def main(arguments: list[str]) -> int:
    """Work until a signal ends it; return the exit code."""
    try:
        settings = environment.load()
        logs.configure(settings.log_level)
        tracing.start(os.environ, kind="worker")
        with database_engine.provide_database(settings) as located:
            catalogue.require_current(located.database_url)
            asyncio.run(_work(located, is_child=CHILD in arguments))
    except (ConfigurationError, OSError, psycopg.Error, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        print(f"commonweal: {reason}", file=sys.stderr)
        return 1
    finally:
        tracing.stop()
    return 0


async def _work(settings: Settings, *, is_child: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if is_child:
        Thread(target=_wait_for_parent, args=(loop, stop), daemon=True).start()
    else:
        print("Commonweal: a worker sends mails and runs jobs", flush=True)
    await worker.run(settings, stop=stop)


def _wait_for_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
