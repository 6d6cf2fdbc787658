"""One operation, one database transaction: the only place that commits what an operation wrote."""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
)
from graphql.execution.values import VariableValues
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from strawberry.types import ExecutionResult

from models.enums import Scope
from resolvers.context import Context
from schema import compiled, documents, explain
from schema.build import schema
from schema.errors import formatted, masked, shown
from schema.texts import bad_text
from services import actors, permissions
from services.errors import Problem
from services.guards import RETRYABLE, sqlstate
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
    is_compiled: bool = False
    """Whether a compiled query gave it."""


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
    prepared = documents.prepare(request.query)
    if prepared.document is None:
        return Answer({"errors": list(prepared.errors)}, is_request_error=True)
    if (bad := _bad_variable(request.variables or {}, prepared.places)) is not None:
        return Answer({"errors": [bad]}, is_request_error=True)
    operation = get_operation_ast(prepared.document, request.operation_name)
    if operation is None:
        unknown = GraphQLError("Name one of the document's operations")
        return Answer({"errors": [formatted(unknown)]}, is_request_error=True)
    if request.reads_only and operation.operation is not OperationType.QUERY:
        wrong = GraphQLError("Only queries are answered here: send a mutation as a POST")
        return Answer({"errors": [formatted(wrong)]}, is_request_error=True, is_wrong_method=True)
    work = _Work(request, prepared.document, operation, _query(request, prepared, operation, settings))
    for attempt in range(ATTEMPTS):
        try:
            return await _once(
                work, sessions=sessions, settings=settings, demo=demo, last=attempt == ATTEMPTS - 1
            )
        except compiled.GiveUp:
            # There is an error to tell, which graphql-core does exactly, from a snapshot of its own.
            work = replace(work, query=None)
        except _Again:
            # The wait is for two operations not to meet again; nothing secret hangs on it.
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - as above
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class _Work:
    """What is to be run, and how."""

    request: Request
    document: DocumentNode
    operation: OperationDefinitionNode
    query: tuple[compiled.Program, VariableValues] | None
    """The compiled query, or None where graphql-core is to run it."""


def _query(
    request: Request,
    prepared: documents.Prepared,
    operation: OperationDefinitionNode,
    settings: Settings,
) -> tuple[compiled.Program, VariableValues] | None:
    is_query = operation.operation is OperationType.QUERY
    if not (settings.compiled_queries and is_query) or prepared.document is None:
        return None
    try:
        variables = compiled.variables_of(operation, request.variables or {})
    except compiled.GiveUp:
        return None
    program = compiled.program_of(prepared.document, operation, variables, prepared.programs)
    return None if program is None else (program, variables)


async def _result(work: _Work, context: Context) -> ExecutionResult:
    if work.query is not None:
        return ExecutionResult(data=await compiled.run(*work.query, context), errors=None)
    return await schema().execute(
        work.request.query,
        variable_values=dict(work.request.variables or {}),
        context_value=context,
        operation_name=work.request.operation_name,
    )


async def _once(
    work: _Work,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    demo: bool,
    last: bool,
) -> Answer:
    request, document, operation = work.request, work.document, work.operation
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
            explain.decide(context.actor)
        result = await _result(work, context)
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
