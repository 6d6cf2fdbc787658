"""One operation, one database transaction: the only place that commits what an operation wrote."""

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    get_operation_ast,
    parse,
    visit,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.enums import Scope
from resolvers.context import Context
from schema.build import schema
from schema.errors import formatted, masked
from services import actors
from services.errors import ErrorCode, Forbidden, Invalid, Problem
from services.guards import RETRYABLE, sqlstate
from services.settings import Settings

ATTEMPTS = 5
MAX_DEPTH = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A GraphQL request as it came in."""

    query: str
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    token: str | None = None
    address: str = ""


@dataclass(frozen=True)
class Answer:
    """What goes back: the body, and whether the request itself was no good."""

    body: dict[str, Any]
    is_request_error: bool = False


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
    try:
        document = parse(request.query)
        bad = _bad_input(document, request.variables or {})
    except (GraphQLError, RecursionError) as error:
        shown = error if isinstance(error, GraphQLError) else GraphQLError("Nested too deeply")
        return Answer({"errors": [formatted(shown)]}, is_request_error=True)
    if bad is not None:
        return Answer({"errors": [_shown(bad)]}, is_request_error=True)
    operation = get_operation_ast(document, request.operation_name)
    if operation is None:
        unknown = GraphQLError("Name one of the document's operations")
        return Answer({"errors": [formatted(unknown)]}, is_request_error=True)
    for attempt in range(ATTEMPTS):
        try:
            return await _once(
                request, operation, sessions=sessions, settings=settings, demo=demo,
                last=attempt == ATTEMPTS - 1,
            )  # fmt: skip
        except _Again:
            # The wait is for two operations not to meet again; nothing secret hangs on it.
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - as above
    raise AssertionError("unreachable")


async def _once(
    request: Request,
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
        return Answer({"errors": [_shown(problem)]})
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


def _shown(problem: Problem) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": ErrorCode(problem.code)}
    if problem.path:
        extensions["path"] = list(problem.path)
    return {"message": problem.message, "extensions": extensions}


def bad_text(value: Any, path: tuple[str, ...]) -> Problem | None:
    """Return what is wrong with a text anywhere in a value: PostgreSQL and JSON cannot carry it.

    Checked once for all input, so that no field of the API can be the one that forgot.

    Raises:
        RecursionError: lists and objects stand in each other more than 100 deep, on every Python alike.
    """
    if len(path) > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            place = ".".join(path)
            return Invalid(f"{place} holds a character that cannot be kept: NUL or half of a pair", path=path)
        return None
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found = bad_text(item, (*path, str(key))) or bad_text(key, path)
        if found is not None:
            return found
    return None


def _bad_input(  # noqa: C901 - one walk over the kinds of values
    document: DocumentNode, variables: Mapping[str, Any]
) -> Problem | None:
    """Return what is wrong with a text of the variables or the document, named by the argument it is for."""
    places: dict[str, tuple[str, ...]] = {}
    found: list[Problem] = []

    def note(value: ValueNode, path: tuple[str, ...]) -> None:
        if isinstance(value, VariableNode):
            places.setdefault(value.name.value, path)
        elif isinstance(value, ObjectValueNode):
            for field in value.fields:
                note(field.value, (*path, field.name.value))
        elif isinstance(value, ListValueNode):
            for i, item in enumerate(value.values):
                note(item, (*path, str(i)))
        elif isinstance(value, StringValueNode) and (problem := bad_text(value.value, path)):
            found.append(problem)

    class Arguments(Visitor):
        def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:
            if node.default_value is not None:
                note(node.default_value, (node.variable.name.value,))

        def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
            note(node.value, (node.name.value,))

    visit(document, Arguments())
    for name, value in variables.items():
        if problem := bad_text(value, places.get(name, (name,))):
            found.append(problem)
    return found[0] if found else None
