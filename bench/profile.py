"""Where a request's time goes: the server's stack, looked at every millisecond while one client asks."""

import asyncio
import linecache
import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from types import FrameType
from typing import Any
from unittest.mock import patch

import uvloop
from starlette.responses import Response

from bench import large_dataset, load, markdown_tables, queries
from bench.client import Order
from bench.postgres_cluster import Place, fresh_database
from bench.server_process import Served
from schema.http.raw_request import Incoming
from schema.observability import logs
from schema.server import endpoint, uvicorn_server
from schema.server.app import application

_DATABASE = "stages"
_EVERY_SECONDS = 0.001
_CLIENT = "the client, and the network between"
_WAIT = "waiting for PostgreSQL"
_OTHER = "other"
_ENCODING = "encoding to JSON"
_LOOP = ("asyncio/runners.py", "uvloop/__init__.py")
"""Where the innermost frame is while the event loop waits."""

# The first that fits the innermost frame, else the next frame outwards: part of a file's path, words of a
# function's name or none for all, and the stage.
_RULES: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("/psycopg/", ("fetchall", "fetchone", "fetchmany", "_load"), "psycopg: decoding of rows"),
    ("/psycopg", (), "psycopg: sending and receiving"),
    ("compiled", (), "execution: the compiled executor"),
    ("/sqlalchemy/", (), "SQLAlchemy: statements, rows to objects"),
    ("/sqlmodel/", (), "SQLAlchemy: statements, rows to objects"),
    ("/graphql/", (), "execution: graphql-core and Strawberry"),
    ("/strawberry/", (), "execution: graphql-core and Strawberry"),
    ("/schema/execution/unit_of_work", (), "unit of work: document, viewer, limits"),
    ("/schema/documents/document_cache", (), "unit of work: document, viewer, limits"),
    ("/schema/documents/document_limits", (), "unit of work: document, viewer, limits"),
    ("/services/database/read_connections", (), "psycopg: sending and receiving"),
    ("/services/sql_json/rows", (), "ids, put into what PostgreSQL wrote"),
    ("/services/core/public_ids", (), "ids, put into what PostgreSQL wrote"),
    ("/schema/execution/admission", (), "unit of work: document, viewer, limits"),
    ("/schema/execution/cost_meter", (), "unit of work: document, viewer, limits"),
    ("/schema/execution/cost", (), "unit of work: document, viewer, limits"),
    ("/resolvers/context", (), "unit of work: document, viewer, limits"),
    ("/services/access/actor", (), "unit of work: document, viewer, limits"),
    ("/schema/server/endpoint", (), "HTTP layer, with its log and counters"),
    ("/schema/http/content_negotiation", (), "HTTP layer, with its log and counters"),
    ("/schema/server/socket_protocol", (), "HTTP layer, with its log and counters"),
    ("/schema/execution/operation", ("encoded", "_plain"), _ENCODING),
    ("/schema/http/raw_request", (), "HTTP layer, with its log and counters"),
    ("/schema/documents/persisted_documents", (), "HTTP layer, with its log and counters"),
    ("/schema/observability/logs", (), "HTTP layer, with its log and counters"),
    ("/schema/observability/metrics", (), "HTTP layer, with its log and counters"),
    ("/logging/", (), "HTTP layer, with its log and counters"),
    ("/services/", (), "services and loaders"),
    ("/dataloaders/", (), "services and loaders"),
    ("/resolvers/", (), "execution: resolvers and types of ours"),
    ("/schema/", (), "execution: resolvers and types of ours"),
    ("/starlette/", (), "uvicorn and Starlette"),
    ("/uvicorn/protocols/", (), "uvicorn and Starlette"),
)
_TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": (queries.TINY, {}),
    "one collective with balance": (queries.COLLECTIVE, {"slug": "large-1"}),
    "100 transactions": (queries.FEED, {"first": 100}),
    "50 collectives, 10 members each": (queries.NESTED, {}),
}


def run(place: Place) -> None:
    """Show the stages of some queries, the feed among them."""
    fresh_database(place, _DATABASE)
    large_dataset.fill(place, _DATABASE)
    with (place.folder / "stages.log").open("w") as log:
        stderr, sys.stderr = sys.stderr, log  # each request writes a line, as it does for users
        try:
            logs.configure("INFO")
            columns = uvloop.run(_measured(place))
        finally:
            sys.stderr = stderr
            logging.basicConfig(force=True)
    names = sorted({stage for found in columns.values() for stage in found}, key=_rank(columns))
    rows = [[n, *(_cell(found, n) for found in columns.values())] for n in names]
    total = ["in all", *(f"{sum(found.values()):.2f}" for found in columns.values())]
    markdown_tables.show(
        "Where a request's time goes, ms (and share)",
        ["stage", *columns],
        [*rows, total],
        "One kept-alive connection, one request at a time, over HTTP; the server's stack is looked at every"
        " millisecond from another thread, so that its own time is a little longer than without.",
    )


def _rank(columns: dict[str, dict[str, float]]) -> Any:
    return lambda stage: -columns["100 transactions"].get(stage, 0)


def _cell(found: dict[str, float], stage: str) -> str:
    ms = found.get(stage, 0)
    return f"{ms:.2f} ({ms / sum(found.values()):.0%})"


async def _measured(place: Place) -> dict[str, dict[str, float]]:
    async with _serving(place) as (served, watched):
        found = {}
        for name, (text, variables) in _TEXTS.items():
            request = load.request(served, text, variables)
            seconds = place.seconds
            order = Order(served.host, served.port, request, 1, seconds, 0.5)
            warm = Order(served.host, served.port, request, 1, 0.5, 0.0)
            await asyncio.to_thread(load.offer, warm)
            sampler = _Sampler(watched)
            with sampler:
                answered = await asyncio.to_thread(load.offer, order)
            if answered.errors:
                raise SystemExit(f"{name} has errors")
            found[name] = sampler.per_request()
        return found


class _Watched:
    """The endpoint, with the number of requests it works on and of those it has answered."""

    def __init__(self) -> None:
        self._reply = endpoint.reply
        self.active = self.answered = 0

    async def __call__(self, request: Incoming) -> Response:
        self.active += 1
        try:
            return await self._reply(request)
        finally:
            self.active -= 1
            self.answered += 1


@asynccontextmanager
async def _serving(place: Place) -> AsyncIterator[tuple[Served, _Watched]]:
    """Serve as `commonweal serve` does; both ways from the socket call `http.reply`, which is watched."""
    settings = replace(place.settings(_DATABASE), port=0, rate_capacity=10**9, rate_restore_per_second=10**9)
    watched = _Watched()
    server = uvicorn_server.make(application(settings), settings)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    with patch.object(endpoint, "reply", watched):
        yield Served(host, port, 0), watched
    server.should_exit = True
    await running


class _Sampler:
    """Looks at the thread that made it, while it is entered."""

    def __init__(self, watched: _Watched) -> None:
        self._watched, self._thread = watched, threading.get_ident()
        self._stop = threading.Event()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def __enter__(self) -> None:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_EVERY_SECONDS / 10)  # the other thread is to look when it is time
        self._answered = self._watched.answered
        self._looking = threading.Thread(target=self._look)
        self._looking.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._looking.join()
        sys.setswitchinterval(self._interval)
        self._answered = self._watched.answered - self._answered

    def _look(self) -> None:
        last, idle = time.perf_counter(), 0.0
        while not self._stop.wait(_EVERY_SECONDS):
            stage = _stage(sys._current_frames()[self._thread])
            now = time.perf_counter()
            if stage is None and not self._watched.active:
                idle += now - last
            else:
                # The client takes a moment to start and to end: only what lies between requests counts.
                if self._seconds:
                    self._seconds[_CLIENT] += idle
                self._seconds[stage or _WAIT] += now - last
                idle = 0.0
            last = now

    def per_request(self) -> dict[str, float]:
        """Return milliseconds of each stage."""
        return {stage: s * 1000 / self._answered for stage, s in self._seconds.items()}


def _stage(frame: FrameType | None) -> str | None:
    """Return the stage that a stack is in, or None where the event loop waits."""
    innermost = frame
    while frame is not None:
        stage = _stage_of(frame.f_code.co_filename, frame.f_code.co_name)
        if stage is not None:
            # The other thread goes on meanwhile: a frame that has ended has no line.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0)
            return _ENCODING if frame is innermost and "orjson.dumps" in line else stage
        frame = frame.f_back
    waits = innermost is not None and innermost.f_code.co_filename.endswith(_LOOP)
    return None if waits else _OTHER


@cache
def _stage_of(file: str, function: str) -> str | None:
    for part, names, stage in _RULES:
        if part in file and (not names or any(name in function for name in names)):
            return stage
    return None
