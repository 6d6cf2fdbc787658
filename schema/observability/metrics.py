"""Server metrics in the Prometheus format, served at /metrics."""

import math
import secrets
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.requests import Request
from starlette.responses import Response

from services.core import networks
from services.jobs import work_counts

CONNECTIONS = Gauge("commonweal_database_connections_in_use", "Connections taken from the pool.")
CONNECTIONS_LIMIT = Gauge("commonweal_database_connections_limit", "Connections that the pool may open.")
LIVE_CONNECTIONS = Gauge("commonweal_live_connections", "Websockets and streams of events that are open.")
MAILS_WAITING = Gauge("commonweal_mails_waiting", "Mails in the outbox that are not delivered.")
MAILS_AGE = Gauge(
    "commonweal_mails_oldest_waiting_seconds", "Age of the oldest mail that is not delivered.", ["lane"]
)
JOBS = Gauge("commonweal_jobs", "Jobs that wait, run or failed, as far as they are kept.", ["status"])
JOBS_AGE = Gauge("commonweal_jobs_oldest_waiting_seconds", "Time for which a job has been due.")
WORKERS = Gauge("commonweal_workers", "Workers with a heartbeat within 30 seconds.")
WORKERS_AGE = Gauge("commonweal_worker_heartbeat_age_seconds", "Age of the last heartbeat of any worker.")
COUNT_SECONDS = 10.0
"""How long a count of what waits is remembered."""
_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_BUCKET_BOUNDS = Histogram.DEFAULT_BUCKETS


class _Tally(Collector):
    """Per-request counts as plain numbers: the library's own counters take a lock at each step."""

    def __init__(self) -> None:
        self.outcomes = {"ok": 0, "errors": 0}
        self.documents = {"read": 0, "remembered": 0}
        self.by_bound = [0] * len(_BUCKET_BOUNDS)
        self.seconds = 0.0
        self.counted_at = -math.inf

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        counters = (
            ("commonweal_operations", "GraphQL operations answered.", "outcome", self.outcomes),
            ("commonweal_documents", "Documents requested: read anew or remembered.", "from", self.documents),
        )
        for name, description, label, counts in counters:
            counter = CounterMetricFamily(name, description, labels=[label])
            for value, count in counts.items():
                counter.add_metric([value], count)
            yield counter
        bounds = ["+Inf" if bound == float("inf") else str(bound) for bound in _BUCKET_BOUNDS]
        yield HistogramMetricFamily(
            "commonweal_operation_seconds",
            "Time from request to answer.",
            buckets=list(zip(bounds, accumulate(self.by_bound), strict=True)),
            sum_value=self.seconds,
        )


_tally = _Tally()
REGISTRY.register(_tally)


def record_operation(seconds: float, *, has_errors: bool) -> None:
    """Count an operation."""
    _tally.outcomes["errors" if has_errors else "ok"] += 1
    _tally.seconds += seconds
    _tally.by_bound[bisect_left(_BUCKET_BOUNDS, seconds)] += 1


def record_document(*, is_cached: bool) -> None:
    """Count a document lookup."""
    _tally.documents["remembered" if is_cached else "read"] += 1


async def serve_metrics(request: Request) -> Response:
    """Serve all metrics to those who may read them; without a database, those that need none."""
    state = request.app.state
    if not _may_read(request):
        return Response("Not Found", 404, media_type="text/plain")
    CONNECTIONS.set(state.engine.pool.checkedout())
    CONNECTIONS_LIMIT.set(state.engine.pool.size())
    if time.monotonic() >= _tally.counted_at + COUNT_SECONDS:
        _tally.counted_at = time.monotonic()
        await _count_work(state.sessions)
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _count_work(sessions: async_sessionmaker[AsyncSession]) -> None:
    try:
        async with sessions() as session:
            work = await work_counts.load(session)
    except (DBAPIError, PoolTimeout, OSError):
        work = work_counts.UNKNOWN
    MAILS_WAITING.set(work.mails_waiting)
    for lane, seconds in work.mails_age_seconds.items():
        MAILS_AGE.labels(lane).set(seconds)
    for status, count in work.jobs.items():
        JOBS.labels(status).set(count)
    JOBS_AGE.set(work.jobs_age_seconds)
    WORKERS.set(work.workers)
    WORKERS_AGE.set(work.heartbeat_age_seconds)


def _may_read(request: Request) -> bool:
    """Return True for the token of the settings, or without one for programs on this machine.

    A request that a proxy passes on is a stranger's, wherever the proxy runs.
    """
    expected: str = request.app.state.settings.metrics_token
    if expected:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        return secrets.compare_digest(sent, expected.encode())
    is_proxied = any(name in request.headers for name in _PROXY_HEADERS)
    address = networks.parse_address(request.client.host) if request.client else None
    return address is not None and address.is_loopback and not is_proxied
