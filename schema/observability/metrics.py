"""Server metrics in the Prometheus format, served at /metrics."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response

CONNECTIONS = Gauge("commonweal_database_connections_in_use", "Connections taken from the pool.")
LIVE_CONNECTIONS = Gauge("commonweal_live_connections", "Websockets and streams of events that are open.")
MAILS_WAITING = Gauge("commonweal_mails_waiting", "Mails in the outbox that are not delivered.")
_BUCKET_BOUNDS = Histogram.DEFAULT_BUCKETS


class _Tally(Collector):
    """Per-request counts as plain numbers: the library's own counters take a lock at each step."""

    def __init__(self) -> None:
        self.outcomes = {"ok": 0, "errors": 0}
        self.documents = {"read": 0, "remembered": 0}
        self.by_bound = [0] * len(_BUCKET_BOUNDS)
        self.seconds = 0.0

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
    """Serve all metrics; without a database, those that need none."""
    state = request.app.state
    CONNECTIONS.set(state.engine.pool.checkedout())
    try:
        async with state.sessions() as session:
            waiting = await session.execute(text("SELECT count(*) FROM outbox WHERE delivered_at IS NULL"))
            MAILS_WAITING.set(waiting.scalar_one())
    except (DBAPIError, PoolTimeout, OSError):
        MAILS_WAITING.set(float("nan"))
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
