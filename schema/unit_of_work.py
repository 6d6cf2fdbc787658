"""One operation, one database transaction: the only place that commits what an operation wrote."""

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.enums import Scope
from resolvers.context import Context
from schema import compiled, documents, explain, suggestions
from schema.errors import formatted, masked, shown
from schema.executing import Request, Work, result_of, work_of
from schema.metering import Meter
from schema.texts import bad_text
from services import actors, permissions
from services.errors import Problem, TimedOut
from services.guards import RETRYABLE, sqlstate
from services.rate_limits import Buckets, Charge, Refused
from services.settings import Settings

__all__ = ["ATTEMPTS", "Answer", "Request", "execute"]

ATTEMPTS = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What goes back: the body, and whether the request itself was no good."""

    body: dict[str, Any]
    is_request_error: bool = False
    is_wrong_method: bool = False
    """Whether a mutation was asked for where only a query may run."""
    is_compiled: bool = False
    """Whether a compiled query gave it."""
    charge: Charge | None = None
    """The points that were taken, where they are counted."""
    retry_after: int | None = None
    """In how many seconds there are points enough; None where there were."""


class _Again(Exception):  # noqa: N818 - a signal, not an error
    """The database asks for the operation to be run again."""


async def execute(
    request: Request,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool = False,
    buckets: Buckets | None = None,
) -> Answer:
    """Run an operation within its limits: of points, where there are `buckets`, and of time."""
    meter = Meter(settings, buckets, request.token, request.address)
    try:
        answer = await _limited(request, meter, sessions=sessions, settings=settings, demo=demo)
    except Refused as refused:
        return Answer(
            {"errors": [shown(refused)]}, is_request_error=True, charge=meter.charge,
            retry_after=refused.retry_after,
        )  # fmt: skip
    except Problem as problem:
        return Answer({"errors": [shown(problem)]}, is_request_error=True, charge=meter.charge)
    if meter.plan is not None and (request.tells_cost or meter.plan.tells):
        answer.body["extensions"] = {"cost": meter.told()}
    return replace(answer, charge=meter.charge)


async def _limited(
    request: Request,
    meter: Meter,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
) -> Answer:
    """Run an operation that may run.

    Raises:
        Problem: a limit is exceeded.
    """
    await meter.check_before_reading()
    prepared = documents.prepare(request.query, hide_suggestions=settings.hides_suggestions)
    if prepared.document is None:
        await meter.refuse()
        return Answer({"errors": list(prepared.errors)}, is_request_error=True)
    operation = get_operation_ast(prepared.document, request.operation_name)
    if (refusal := _refusal(request, prepared, operation)) is not None or operation is None:
        await meter.refuse(points=1)
        return refusal or Answer({}, is_request_error=True)
    await meter.reserve(prepared, operation, request.variables)
    work = work_of(request, prepared, operation, settings)
    answer = await _timed(work, meter, sessions=sessions, settings=settings, demo=demo)
    meter.settle(answer.body.get("data"))
    if settings.hides_suggestions:
        suggestions.hide(answer.body.get("errors", ()))
    return answer


def _refusal(
    request: Request, prepared: documents.Prepared, operation: OperationDefinitionNode | None
) -> Answer | None:
    """Return what is wrong with a request whose document may run."""
    if (bad := _bad_variable(request.variables or {}, prepared.places)) is not None:
        return Answer({"errors": [bad]}, is_request_error=True)
    if operation is None:
        unknown = GraphQLError("Name one of the document's operations")
        return Answer({"errors": [formatted(unknown)]}, is_request_error=True)
    if request.reads_only and operation.operation is not OperationType.QUERY:
        wrong = GraphQLError("Only queries are answered here: send a mutation as a POST")
        return Answer({"errors": [formatted(wrong)]}, is_request_error=True, is_wrong_method=True)
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
                    return await _once(
                        work, sessions=sessions, settings=settings, demo=demo,
                        last=attempt == ATTEMPTS - 1, limit=limit, charge=meter.charge,
                    )  # fmt: skip
                except compiled.GiveUp:
                    # There is an error to tell, which graphql-core does exactly, from a snapshot of its own.
                    work = replace(work, query=None)
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
    request, document, operation = work.request, work.document, work.operation
    session = sessions()
    context = Context(
        session=session, sessions=sessions, settings=settings, address=request.address, demo=demo,
        document=document,
        is_mutation=operation.operation is OperationType.MUTATION,
        root_fields=_root_fields(operation), charge=charge,
    )  # fmt: skip
    committing = False
    try:
        if request.token is not None:
            context.actor = await context.run(_load_actor, token=request.token)
            _require_read(context)
            explain.decide(context.actor)
        result = await result_of(work, context)
        errors = result.errors or []
        fault = _fault(errors)
        if fault is not None and context.is_mutation:
            _ask_again(fault, last=last)
            await session.rollback()
            return Answer({"data": None, "errors": [formatted(e) for e in errors]})
        if fault is not None:
            _ask_again(fault, last=last)
        if len(context.stored) > 1 or (context.is_mutation and result.data is None):
            # An answer without data must not leave anything behind, whatever its first fields did.
            await session.rollback()
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
        await _close_quietly(session)
        return Answer({"errors": [shown(problem)]})
    except DBAPIError as error:
        await _close_quietly(session)
        # A connection that breaks during the commit does not tell whether the commit was done.
        _ask_again(error, last=last or (committing and error.connection_invalidated))
        return Answer({"data": None, "errors": [masked(error)]})
    finally:
        await context.settled()
        await _close_quietly(session)
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = [formatted(error) for error in errors]
    is_request_error = result.data is None and all(e.path is None for e in errors) and bool(errors)
    if is_request_error:
        del body["data"]
    return Answer(body, is_request_error=is_request_error, is_compiled=work.query is not None)


def _require_read(context: Context) -> None:
    """Let a token query only with the scope for it; what a mutation answers is part of the mutation.

    Raises:
        Forbidden: the token lacks the scope.
    """
    if not context.is_mutation:
        permissions.require_scope(context.actor, Scope.READ)


async def _load_actor(session: AsyncSession, _: actors.Actor, *, token: str) -> actors.Actor:
    return await actors.load(session, token=token)


async def _finish(context: Context) -> None:
    """Keep what a mutation wrote, unless it was a dry run; end a query's snapshot."""
    if context.is_mutation and context.stored != {False}:
        await _unbroken(context.session.commit())
    else:
        await context.session.rollback()


async def _unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Finish a work even if this operation is cancelled meanwhile: a commit is done or it is not."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _close_quietly(session: AsyncSession) -> None:
    try:
        await session.close()
    except DBAPIError:
        log.info("a broken connection was dropped")


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


def _bad_variable(
    variables: Mapping[str, Any], places: Mapping[str, tuple[str, ...]]
) -> dict[str, Any] | None:
    """Return what is wrong with a variable's text, named by the argument that it is for."""
    try:
        for name, value in variables.items():
            if problem := bad_text(value, places.get(name, (name,))) or bad_text(name, ("variables",)):
                return shown(problem)
    except RecursionError:
        return formatted(GraphQLError("Nested too deeply"))
    return None
