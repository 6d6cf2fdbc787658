"""Profile a request: sample the server's stack every millisecond while one client sends requests."""

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
from bench.client import LoadOrder
from bench.postgres_cluster import BenchCluster, recreate_database
from bench.server_process import RunningServer
from schema.http.raw_request import RawRequest
from schema.observability import logs
from schema.server import endpoint, uvicorn_server
from schema.server.app import create_application

_DATABASE = "stages"
_INTERVAL_SECONDS = 0.001
_CLIENT = "the client, and the network between"
_WAIT = "waiting for PostgreSQL"
_OTHER = "other"
_ENCODING = "encoding to JSON"
_LOOP = ("asyncio/runners.py", "uvloop/__init__.py")
"""Files of the innermost frame while the event loop waits."""

# The first rule that matches the innermost frame, else the next frame outwards: part of a file's path,
# parts of function names (empty matches all), and the stage.
_RULES: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("/psycopg/", ("fetchall", "fetchone", "fetchmany", "_load"), "psycopg: decoding of rows"),
    ("/psycopg", (), "psycopg: sending and receiving"),
    ("/schema/plan/", (), "execution: plans"),
    ("/sqlalchemy/", (), "SQLAlchemy: statements, rows to objects"),
    ("/sqlmodel/", (), "SQLAlchemy: statements, rows to objects"),
    ("/graphql/", (), "execution: graphql-core and Strawberry"),
    ("/strawberry/", (), "execution: graphql-core and Strawberry"),
    ("/schema/execution/attempt", (), "unit of work: document, viewer, limits"),
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
    ("/schema/execution/operation", ("encode_json", "_encode_value"), _ENCODING),
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
_QUERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": (queries.TINY, {}),
    "one collective with balance": (queries.COLLECTIVE, {"slug": "large-1"}),
    "100 transactions": (queries.FEED, {"first": 100}),
    "50 collectives, 10 members each": (queries.NESTED, {}),
}


def run(cluster: BenchCluster) -> None:
    """Print the stages of some queries, the feed among them."""
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    with (cluster.folder / "stages.log").open("w") as log:
        stderr, sys.stderr = sys.stderr, log  # each request logs a line, as in production
        try:
            logs.configure("INFO")
            columns = uvloop.run(_measure(cluster))
        finally:
            sys.stderr = stderr
            logging.basicConfig(force=True)
    names = sorted({stage for result in columns.values() for stage in result}, key=_rank(columns))
    rows = [[n, *(_cell(result, n) for result in columns.values())] for n in names]
    total = ["total", *(f"{sum(result.values()):.2f}" for result in columns.values())]
    markdown_tables.print_table(
        "Where a request's time goes, ms (and share)",
        ["stage", *columns],
        [*rows, total],
        "One kept-alive connection, one request at a time, over HTTP; the server's stack is sampled every"
        " millisecond by another thread, which makes its own time a little longer.",
    )


def _rank(columns: dict[str, dict[str, float]]) -> Any:
    return lambda stage: -columns["100 transactions"].get(stage, 0)


def _cell(ms_by_stage: dict[str, float], stage: str) -> str:
    ms = ms_by_stage.get(stage, 0)
    return f"{ms:.2f} ({ms / sum(ms_by_stage.values()):.0%})"


async def _measure(cluster: BenchCluster) -> dict[str, dict[str, float]]:
    async with _run_server(cluster) as (server, watched):
        results = {}
        for name, (text, variables) in _QUERIES.items():
            request = load.request_text(server, text, variables)
            seconds = cluster.seconds
            order = LoadOrder(server.host, server.port, request, 1, seconds, 0.5)
            warm = LoadOrder(server.host, server.port, request, 1, 0.5, 0.0)
            await asyncio.to_thread(load.run_load, warm)
            sampler = _Sampler(watched)
            with sampler:
                answered = await asyncio.to_thread(load.run_load, order)
            if answered.errors:
                raise SystemExit(f"{name} has errors")
            results[name] = sampler.per_request()
        return results


class _CountingEndpoint:
    """The endpoint, counting active and answered requests."""

    def __init__(self) -> None:
        self._handle = endpoint.handle
        self.active = self.answered = 0

    async def __call__(self, request: RawRequest) -> Response:
        self.active += 1
        try:
            return await self._handle(request)
        finally:
            self.active -= 1
            self.answered += 1


@asynccontextmanager
async def _run_server(cluster: BenchCluster) -> AsyncIterator[tuple[RunningServer, _CountingEndpoint]]:
    """Serve as `commonweal serve` does; counting the calls of `endpoint.handle`."""
    settings = replace(
        cluster.settings(_DATABASE), port=0, rate_capacity=10**9, rate_restore_per_second=10**9
    )
    watched = _CountingEndpoint()
    server = uvicorn_server.create_server(create_application(settings), settings)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    with patch.object(endpoint, "handle", watched):
        yield RunningServer(host, port, 0), watched
    server.should_exit = True
    await running


class _Sampler:
    """Samples the stack of the thread that created it, while entered."""

    def __init__(self, watched: _CountingEndpoint) -> None:
        self._watched, self._thread = watched, threading.get_ident()
        self._stop = threading.Event()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def __enter__(self) -> None:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_INTERVAL_SECONDS / 10)  # let the sampling thread run on time
        self._answered = self._watched.answered
        self._sampling = threading.Thread(target=self._sample)
        self._sampling.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._sampling.join()
        sys.setswitchinterval(self._interval)
        self._answered = self._watched.answered - self._answered

    def _sample(self) -> None:
        last, idle = time.perf_counter(), 0.0
        while not self._stop.wait(_INTERVAL_SECONDS):
            stage = _stage(sys._current_frames()[self._thread])
            now = time.perf_counter()
            if stage is None and not self._watched.active:
                idle += now - last
            else:
                # Idle time counts only between requests, not while the client starts or ends.
                if self._seconds:
                    self._seconds[_CLIENT] += idle
                self._seconds[stage or _WAIT] += now - last
                idle = 0.0
            last = now

    def per_request(self) -> dict[str, float]:
        """Return the milliseconds of each stage for one request."""
        return {stage: s * 1000 / self._answered for stage, s in self._seconds.items()}


def _stage(frame: FrameType | None) -> str | None:
    """Return the stage of a stack, or None while the event loop waits."""
    innermost = frame
    while frame is not None:
        stage = _stage_of(frame.f_code.co_filename, frame.f_code.co_name)
        if stage is not None:
            # The sampled thread keeps running: a frame that has ended has no line.
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
