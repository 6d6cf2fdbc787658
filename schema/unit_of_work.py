"""One operation, one database transaction: the only place that commits what an operation wrote."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
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
from schema import documents
from schema.build import schema
from schema.errors import formatted, masked, shown
from schema.texts import bad_text
from services import actors
from services.errors import Forbidden, Problem
from services.guards import RETRYABLE, sqlstate
from services.live_hub import Hub
from services.settings import Settings

ATTEMPTS = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A GraphQL request as it came in."""

    query: str
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    token: str | None = None
    address: str = ""
    reads_only: bool = False
    """Whether only a query may run."""


@dataclass(frozen=True)
class Answer:
    """What goes back: the body, and whether the request itself was no good."""

    body: dict[str, Any]
    is_request_error: bool = False
    is_wrong_method: bool = False
    """Whether a mutation was asked for where only a query may run."""


def refusal(problem: Problem) -> Answer:
    """Return the answer to what is not run."""
    return Answer({"errors": [shown(problem)]}, is_request_error=True)


class _Again(Exception):  # noqa: N818 - a signal, not an error
    """The database asks for the operation to be run again."""


async def execute(
    request: Request,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool = False,
) -> Answer:
    """Run an operation, again where the database asks for it: deadlocks, lost connections.

    Nothing of a run that is repeated was kept; the answer goes out after the commit.
    """
    found = chosen(request)
    if isinstance(found, Answer):
        return found
    document, operation = found
    if operation.operation is OperationType.SUBSCRIPTION:
        wrong = GraphQLError("Subscriptions are answered as text/event-stream or over a websocket")
        return Answer(
            {"errors": [formatted(wrong)]}, is_request_error=True, is_wrong_method=request.reads_only
        )
    if request.reads_only and operation.operation is not OperationType.QUERY:
        wrong = GraphQLError("Only queries are answered here: send a mutation as a POST")
        return Answer({"errors": [formatted(wrong)]}, is_request_error=True, is_wrong_method=True)
    for attempt in range(ATTEMPTS):
        try:
            return await _once(
                request, document, operation, sessions=sessions, settings=settings, demo=demo,
                last=attempt == ATTEMPTS - 1,
            )  # fmt: skip
        except _Again:
            # The wait is for two operations not to meet again; nothing secret hangs on it.
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - as above
    raise AssertionError("unreachable")


def chosen(request: Request) -> tuple[DocumentNode, OperationDefinitionNode] | Answer:
    """Return the document, parsed and validated, and which of its operations to run; or why none can."""
    prepared = documents.prepare(request.query)
    if prepared.document is None:
        return Answer({"errors": list(prepared.errors)}, is_request_error=True)
    if (bad := _bad_variable(request.variables or {}, prepared.places)) is not None:
        return Answer({"errors": [bad]}, is_request_error=True)
    operation = get_operation_ast(prepared.document, request.operation_name)
    if operation is None:
        unknown = GraphQLError("Name one of the document's operations")
        return Answer({"errors": [formatted(unknown)]}, is_request_error=True)
    return prepared.document, operation


def is_subscription(request: Request) -> bool:
    """Tell whether the operation chosen is one."""
    found = chosen(request)
    return not isinstance(found, Answer) and found[1].operation is OperationType.SUBSCRIPTION


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
    session = sessions()
    context = Context(
        session=session, sessions=sessions, settings=settings, address=request.address, document=document,
        token=request.token, live=live,
    )  # fmt: skip
    try:
        if request.token is not None:
            context.actor = await context.run(_load_actor, token=request.token)
            _require_read(context)
        yield context
    finally:
        await _close_quietly(session)


async def _once(
    request: Request,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
    last: bool,
) -> Answer:
    session = sessions()
    context = Context(
        session=session, sessions=sessions, settings=settings, address=request.address, demo=demo,
        document=document,
        is_mutation=operation.operation is OperationType.MUTATION,
        root_fields=_root_fields(operation),
    )  # fmt: skip
    committing = False
    try:
        if request.token is not None:
            context.actor = await context.run(_load_actor, token=request.token)
            _require_read(context)
        result = await schema().execute(
            request.query,
            variable_values=dict(request.variables or {}),
            context_value=context,
            operation_name=request.operation_name,
        )
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
        await _finish(context)
    except Problem as problem:
        await _close_quietly(session)
        return Answer({"errors": [shown(problem)]})
    except DBAPIError as error:
        await _close_quietly(session)
        # A connection that breaks during the commit does not tell whether the commit was done.
        _ask_again(error, last=last or (committing and error.connection_invalidated))
        return Answer({"data": None, "errors": [masked(error)]})
    finally:
        await _close_quietly(session)
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = [formatted(error) for error in errors]
    is_request_error = result.data is None and all(e.path is None for e in errors) and bool(errors)
    if is_request_error:
        del body["data"]
    return Answer(body, is_request_error=is_request_error)


def _require_read(context: Context) -> None:
    """Let a token query only with the scope for it; what a mutation answers is part of the mutation.

    Raises:
        Forbidden: the token lacks the scope.
    """
    scopes = context.actor.scopes
    if scopes is not None and not context.is_mutation and Scope.READ not in scopes:
        raise Forbidden(f"This access token lacks the scope {Scope.READ}")


async def _load_actor(session: AsyncSession, _: actors.Actor, *, token: str) -> actors.Actor:
    return await actors.load(session, token=token)


async def _finish(context: Context) -> None:
    """Keep what a mutation wrote, unless it was a dry run; end a query's snapshot."""
    if context.is_mutation and context.stored != {False}:
        await context.session.commit()
    else:
        await context.session.rollback()


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
