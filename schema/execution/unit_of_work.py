"""The unit of work: run an operation within its limits, retrying attempts that the database aborts."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from graphql import DocumentNode
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from resolvers.context import Context
from schema import plan
from schema.documents import suggestions
from schema.execution import admission, direct_reads
from schema.execution.attempt import RetryOperation, authenticate, run_attempt
from schema.execution.cost_meter import Meter
from schema.execution.operation import OperationRequest, OperationResult, PreparedOperation
from schema.types.errors import to_response_error
from services.access import viewer_cache
from services.access.rate_limits import Buckets
from services.core import tracing
from services.core.errors import TimedOut
from services.core.settings import Settings
from services.live.broadcaster import Broadcaster

__all__ = ["ATTEMPTS", "OperationRequest", "OperationResult", "execute", "snapshot"]

ATTEMPTS = 5


async def execute(
    request: OperationRequest,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    buckets: Buckets | None = None,
) -> OperationResult:
    """Run a query or mutation within its time limit and, if there are `buckets`, its point limit."""
    ends_at = asyncio.get_running_loop().time() + settings.execution_timeout_ms / 1000
    meter = Meter(settings, buckets, request.token, request.address)
    prepared = await admission.admit(request, meter)
    if isinstance(prepared, OperationResult):
        return prepared
    result = await _run_with_deadline(prepared, meter, ends_at=ends_at, sessions=sessions, settings=settings)
    meter.refund_unused(result.body.get("data"))
    if settings.are_suggestions_hidden:
        suggestions.hide(result.body.get("errors", ()))
    if request.reports_cost or (meter.plan is not None and meter.plan.reads_rate_limit):
        result.body["extensions"] = {"cost": meter.cost_extension()}
    result.charge = meter.charge
    return result


@asynccontextmanager
async def snapshot(
    request: OperationRequest,
    document: DocumentNode,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    live: Broadcaster,
) -> AsyncIterator[Context]:
    """Yield a context for reading one snapshot, with the viewer loaded afresh.

    Raises:
        Unauthenticated: the token is invalid.
        Forbidden: the token lacks the scope READ.
    """
    context = Context(
        sessions=sessions,
        settings=settings,
        address=request.address,
        document=document,
        token=request.token,
        live=live,
    )
    try:
        if request.token is not None:
            await authenticate(context, request.token)
        yield context
    finally:
        await context.close()


async def _run_with_deadline(
    prepared: PreparedOperation,
    meter: Meter,
    *,
    ends_at: float,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
) -> OperationResult:
    """Run an operation until its deadline, retrying after deadlocks and lost connections.

    A retried attempt has committed nothing, and the result is sent after the commit. An operation that times
    out or is cancelled is charged in full.
    """
    if prepared.json_read is not None:
        prepared = replace(prepared, json_read=prepared.json_read.with_charge(meter.charge))
    try:
        engine = sessions.kw["bind"]
        read = await direct_reads.read(prepared, ends_at=ends_at, engine=engine, settings=settings)
        if read is not None:
            return read
        async with asyncio.timeout_at(ends_at) as limit:
            for attempt in range(ATTEMPTS):
                try:
                    if attempt > 0:
                        limit.reschedule(ends_at)
                    return await _run_with_fallback(
                        prepared,
                        sessions=sessions,
                        settings=settings,
                        last=attempt == ATTEMPTS - 1,
                        limit=limit,
                        charge=meter.charge,
                    )
                except RetryOperation:
                    tracing.forget_codes()
                    # Jitter keeps two operations from colliding again.
                    await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - no secret depends on it
    except TimeoutError:
        meter.keep_all()
        return OperationResult({"data": None, "errors": [to_response_error(TimedOut())]})
    except asyncio.CancelledError:
        meter.keep_all()
        raise
    raise AssertionError("unreachable")


async def _run_with_fallback(prepared: PreparedOperation, **options: Any) -> OperationResult:
    """Run an operation, again if its viewer has changed, and on graphql-core if its plan cannot answer."""
    try:
        try:
            return await run_attempt(prepared, **options)
        except viewer_cache.StaleViewer:
            tracing.forget_codes()
            viewer_cache.forget(prepared.request.token or "")
            return await run_attempt(prepared, uses_cached_viewer=False, **options)
    except plan.FallBack:
        tracing.forget_codes()
        by_graphql_core = replace(prepared, json_read=None, mutation=None)
        return await run_attempt(by_graphql_core, uses_cached_viewer=False, **options)
