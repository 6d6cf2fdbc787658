"""What the server counts, in Prometheus' format at /metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response

OPERATIONS = Counter("commonweal_operations", "GraphQL operations answered.", ["outcome"], registry=REGISTRY)
SECONDS = Histogram("commonweal_operation_seconds", "Time from request to answer.", registry=REGISTRY)
DOCUMENTS = Counter("commonweal_documents", "Documents asked for: read anew or remembered.", ["from"])
CONNECTIONS = Gauge("commonweal_database_connections_in_use", "Connections taken from the pool.")
LIVE_CONNECTIONS = Gauge("commonweal_live_connections", "Websockets and streams of events that are open.")
MAILS_WAITING = Gauge("commonweal_mails_waiting", "Mails in the outbox that are not delivered.")


_OK, _ERRORS = OPERATIONS.labels("ok"), OPERATIONS.labels("errors")
READ, REMEMBERED = DOCUMENTS.labels("read"), DOCUMENTS.labels("remembered")


def note(seconds: float, *, has_errors: bool) -> None:
    """Count an operation."""
    (_ERRORS if has_errors else _OK).inc()
    SECONDS.observe(seconds)


async def metrics(request: Request) -> Response:
    """Answer with all figures; without a database, with those that need none."""
    state = request.app.state
    CONNECTIONS.set(state.engine.pool.checkedout())
    try:
        async with state.sessions() as session:
            waiting = await session.execute(text("SELECT count(*) FROM outbox WHERE delivered_at IS NULL"))
            MAILS_WAITING.set(waiting.scalar_one())
    except (DBAPIError, PoolTimeout, OSError):
        MAILS_WAITING.set(float("nan"))
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
