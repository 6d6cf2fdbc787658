"""The command that serves: the database, its tables, the demo world, and then the API."""

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

import uvicorn
from starlette.applications import Starlette

from schema import build
from schema.cli import commands, demo_loading, worker_child
from schema.cli.progress import Steps
from schema.observability import logs
from schema.server import uvicorn_server
from schema.server.app import create_application
from services.core import listeners, tracing
from services.core.settings import Settings
from services.database import catalogue
from services.database import engine as database_engine


def serve(settings: Settings, *, demo: bool, migrate_first: bool = True) -> int:
    """Start the embedded database if needed, migrate, load the demo world if requested, and serve.

    Without `migrate_first` it needs no rights of an owner; the database must be of this version.
    """
    logs.configure(settings.log_level)
    tracing.start(os.environ, kind="server")
    steps = Steps(4 if demo else 3)
    with ExitStack() as stack:
        stack.callback(tracing.stop)
        sockets = [stack.enter_context(each) for each in listeners.bind(settings)]
        with steps.step("Starting the database"):
            located = stack.enter_context(database_engine.provide_database(settings))
        with demo_loading.alone(settings, located):
            with steps.step("Preparing the tables and exchange rates"):
                if migrate_first:
                    asyncio.run(commands.prepare_database(located, defers_old_rates=True))
                catalogue.require_current(located.database_url)
            if demo:
                demo_loading.load_if_empty(settings, located, steps)
            else:
                demo_loading.require_whole(located)
        with steps.step("Starting the server"):
            application = create_application(located)
            build.schema()
        _run(application, located, sockets)
    return 0


def _run(application: Starlette, settings: Settings, sockets: list[socket.socket]) -> None:
    # uvicorn raises the signal again after its shutdown, when the embedded database has yet to stop.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = uvicorn_server.create_server(application, settings)
    announcing = _AnnouncingServer(server, sockets, settings)
    _tune_garbage_collector()
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(announcing.serve())


def _tune_garbage_collector() -> None:
    """Exclude long-lived objects from garbage collection, and collect less often.

    Collecting the schema and the modules takes a tenth of a second, during which every request waits.
    """
    build.schema()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 20)


class _AnnouncingServer:
    """A server that prints its address once it listens, with a worker beside it."""

    def __init__(self, server: uvicorn.Server, sockets: list[socket.socket], settings: Settings) -> None:
        self._server, self._sockets, self._settings = server, sockets, settings

    async def serve(self) -> None:
        running = asyncio.create_task(self._server.serve(sockets=self._sockets))
        while not self._server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.02)
        if self._server.started:
            host, port = self._server.servers[0].sockets[0].getsockname()[:2]
            print(f"Commonweal: GraphiQL and the API at http://{host}:{port}/graphql", flush=True)
            async with worker_child.run_worker(replace(self._settings, port=port)):
                await asyncio.wait([running])
        await running


def work() -> NoReturn:
    """Become a worker's process, which needs none of what this one has loaded."""
    os.execv(sys.executable, [sys.executable, "-m", "schema.cli.worker"])
