"""One operation, one database transaction: the only place that commits what an operation wrote."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.enums import Scope
from resolvers.context import Context
from resolvers.session_cookie import SessionCookie
from schema import plan
from schema.documents import suggestions
from schema.execution import admission
from schema.execution.cost_meter import Meter
from schema.execution.operation import Answer, Request, Work, result_of, work_of
from schema.observability import sql_trace
from schema.types.errors import formatted, masked, shown
from services.access import actor, permissions
from services.access.rate_limits import Buckets, Charge
from services.core.errors import Problem, TimedOut
from services.core.settings import Settings
from services.database.constraint_errors import RETRYABLE, sqlstate
from services.live.broadcaster import Hub

__all__ = ["ATTEMPTS", "Answer", "Request", "execute", "snapshot"]

ATTEMPTS = 5
log = logging.getLogger(__name__)


class _Again(Exception):
    """The database asks for the operation to be run again."""


async def execute(
    request: Request,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool = False,
    buckets: Buckets | None = None,
) -> Answer:
    """Run a query or a mutation within its limits: of points, where there are `buckets`, and of time."""
    meter = Meter(settings, buckets, request.token, request.address)
    found = await admission.admitted(request, meter)
    if isinstance(found, Answer):
        return found
    work = work_of(request, *found, settings)
    answer = await _at_once(work, sessions=sessions, settings=settings, demo=demo, charge=meter.charge)
    if answer is None:
        answer = await _timed(work, meter, sessions=sessions, settings=settings, demo=demo)
    meter.settle(answer.body.get("data"))
    if settings.hides_suggestions:
        suggestions.hide(answer.body.get("errors", ()))
    if request.tells_cost or (meter.plan is not None and meter.plan.tells):
        answer.body["extensions"] = {"cost": meter.told()}
    answer.charge = meter.charge
    return answer


@asynccontextmanager
async def snapshot(
    request: Request,
    document: DocumentNode,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    live: Hub,
) -> AsyncIterator[Context]:
    """Yield a context to read in, with the viewer as they are now.

    Raises:
        Unauthenticated: the token is not good.
        Forbidden: it lacks the scope READ.
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
            context.actor = await context.run(_load_actor, token=request.token)
            _require_read(context)
        yield context
    finally:
        await context.close()


async def _at_once(work: Work, **how: Any) -> Answer | None:
    """Run a query without a field that reads, for nobody: it begins nothing, and no time is set for it.

    None where it is another, or where there is an error to tell.
    """
    if work.query is None or work.query[0].step.is_async or work.request.token is not None:
        return None
    try:
        return Answer({"data": await plan.run(*work.query, _context(work, **how))}, is_compiled=True)
    except plan.GiveUp:
        return None


async def _timed(
    work: Work,
    meter: Meter,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
) -> Answer:
    """Run an operation, again where the database asks for it: deadlocks, lost connections.

    Nothing of a run that is repeated was kept; the answer goes out after the commit. One that is stopped,
    because it takes too long or because nobody waits for it, is paid for in full.
    """
    try:
        async with asyncio.timeout(settings.execution_timeout_ms / 1000) as limit:
            ends_at = limit.when()
            for attempt in range(ATTEMPTS):
                try:
                    if attempt > 0:
                        limit.reschedule(ends_at)
                    return await _exactly(
                        work,
                        sessions=sessions,
                        settings=settings,
                        demo=demo,
                        last=attempt == ATTEMPTS - 1,
                        limit=limit,
                        charge=meter.charge,
                    )
                except _Again:
                    # The wait is for two operations not to meet again; nothing secret hangs on it.
                    await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - as above
    except TimeoutError:
        meter.settle_in_full()
        return Answer({"data": None, "errors": [shown(TimedOut())]})
    except asyncio.CancelledError:
        meter.settle_in_full()
        raise
    raise AssertionError("unreachable")


async def _exactly(work: Work, **how: Any) -> Answer:
    """Run an operation; where there is an error to tell, on graphql-core, from a snapshot of its own."""
    try:
        return await _once(work, **how)
    except plan.GiveUp:
        return await _once(replace(work, query=None, writing=None), **how)


async def _once(
    work: Work,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
    last: bool,
    limit: asyncio.Timeout,
    charge: Charge | None,
) -> Answer:
    context = _context(work, sessions=sessions, settings=settings, demo=demo, charge=charge)
    committing = False
    try:
        if work.request.token is not None:
            context.actor = await context.run(_load_actor, token=work.request.token)
            _require_read(context)
            sql_trace.decide(context.actor)
        result = await result_of(work, context)
        errors = result.errors or []
        fault = _fault(errors)
        if fault is not None and context.is_mutation:
            _ask_again(fault, last=last)
            await context.session.rollback()
            return Answer({"data": None, "errors": [formatted(e) for e in errors]})
        if fault is not None:
            _ask_again(fault, last=last)
        if len(context.stored) > 1 or (context.is_mutation and result.data is None):
            # An answer without data must not leave anything behind, whatever its first fields did.
            await context.session.rollback()
            return Answer(
                {"data": None, "errors": [formatted(e) for e in errors]}
                if any(e.path for e in errors)
                else {"errors": [formatted(e) for e in errors]},
                is_request_error=all(e.path is None for e in errors),
            )
        committing = context.is_mutation
        limit.reschedule(None)
        await _finish(context)
    except asyncio.CancelledError:
        await context.abandon()
        raise
    except Problem as problem:
        return Answer({"errors": [shown(problem)]})
    except DBAPIError as error:
        # A connection that breaks during the commit does not tell whether the commit was done.
        _ask_again(error, last=last or (committing and error.connection_invalidated))
        return Answer({"data": None, "errors": [masked(error)]})
    finally:
        await context.close()
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = [formatted(error) for error in errors]
    is_request_error = result.data is None and all(e.path is None for e in errors) and bool(errors)
    if is_request_error:
        del body["data"]
    return Answer(
        body,
        is_request_error=is_request_error,
        is_compiled=work.query is not None,
        is_written=work.writing is not None,
    )


def _context(
    work: Work,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
    charge: Charge | None,
) -> Context:
    is_mutation = work.operation.operation is OperationType.MUTATION
    return Context(
        sessions=sessions,
        settings=settings,
        address=work.request.address,
        demo=demo,
        document=work.document,
        is_mutation=is_mutation,
        root_fields=_root_fields(work.operation) if is_mutation else 1,
        charge=charge,
        is_single=work.is_single,
        columns=work.columns,
        writing=work.writing,
        session_cookie=work.request.session_cookie or SessionCookie(),
    )


def _require_read(context: Context) -> None:
    """Let a token query only with the scope for it; what a mutation answers is part of the mutation.

    Raises:
        Forbidden: the token lacks the scope.
    """
    if not context.is_mutation:
        permissions.require_scope(context.actor, Scope.READ)


async def _load_actor(session: AsyncSession, _: actor.Actor, *, token: str) -> actor.Actor:
    return await actor.load(session, token=token)


async def _finish(context: Context) -> None:
    """Keep what a mutation wrote, unless it was a dry run."""
    if context.is_mutation and context.stored != {False}:
        await _unbroken(context.session.commit())


async def _unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Finish a work even if this operation is cancelled meanwhile: a commit is done or it is not."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _root_fields(operation: OperationDefinitionNode) -> int:
    """Count the fields at the root; a fragment there counts as many."""
    selections = operation.selection_set.selections
    return len(selections) if all(isinstance(s, FieldNode) for s in selections) else 2


def _fault(errors: list[GraphQLError]) -> BaseException | None:
    for error in errors:
        cause = error.original_error
        while isinstance(cause, GraphQLError):
            cause = cause.original_error
        if cause is not None and not isinstance(cause, Problem):
            return cause
    return None


def _ask_again(fault: BaseException, *, last: bool) -> None:
    """Raise _Again where another run may succeed and nothing was committed."""
    if (
        not last
        and isinstance(fault, DBAPIError)
        and (fault.connection_invalidated or sqlstate(fault) in RETRYABLE)
    ):
        raise _Again
