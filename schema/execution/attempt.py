"""One attempt at an operation, in one database transaction: the only place that commits."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from graphql import FieldNode, GraphQLError, OperationDefinitionNode, OperationType
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from strawberry.types import ExecutionResult

from models.enums import Scope
from resolvers.context import Context
from resolvers.session_cookie import SessionCookie
from schema.execution import token_reads
from schema.execution.operation import OperationResult, PreparedOperation, execute_operation
from schema.observability import sql_trace
from schema.types.errors import format_error, mask_error, to_response_error
from services.access import actor, permissions, viewer_cache
from services.access.rate_limits import Charge
from services.core.errors import Busy, Problem, Unavailable
from services.core.settings import Settings
from services.database.constraint_errors import RETRYABLE, WAITED, problem_for, sqlstate
from services.round_trips import effects

MAX_NAMES_LENGTH = 200


class RetryOperation(Exception):
    """A serialization failure, a deadlock, a lost connection or statement: run the operation again."""


async def run_attempt(
    prepared: PreparedOperation,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    last: bool,
    limit: asyncio.Timeout,
    charge: Charge | None,
    uses_cached_viewer: bool = True,
) -> OperationResult:
    """Run an operation once, in one transaction, and commit what it wrote.

    Raises:
        RetryOperation: another attempt may succeed.
        FallBack: graphql-core must run the query.
        StaleViewer: the viewer in the cache has changed.
    """
    context = create_context(
        prepared, sessions=sessions, settings=settings, charge=charge, uses_cached_viewer=uses_cached_viewer
    )
    try:
        result = await _run_as_viewer(prepared, context, last=last)
        if isinstance(result, OperationResult):
            return result
        context.is_committing = context.is_mutation
        _lift(limit)
        with context.cut_after(settings.commit_timeout_ms / 1000):
            await _commit(context)
        if context.is_unconfirmed():
            doubt = _put_in_doubt(to_response_error(Unavailable()))
            return OperationResult({"data": None, "errors": [doubt]})
    except asyncio.CancelledError:
        await context.abandon()
        raise
    except Problem as problem:
        return OperationResult({"errors": [to_response_error(problem)]})
    except DBAPIError as error:
        # If the connection breaks during the commit, we cannot know whether the commit happened.
        is_committing = context.is_committing
        _raise_if_retryable(context, error, last=last or (is_committing and error.connection_invalidated))
        # Some rules of the database are checked at the commit: no field is left to report a violation.
        violation = problem_for(error) if is_committing else None
        body = to_response_error(violation) if violation else mask_error(error)
        if is_committing and error.connection_invalidated:
            _put_in_doubt(body)
        return OperationResult({"data": None, "errors": [body]})
    finally:
        await context.close()
        await _touch_token(context)  # with no other connection in hand
    return _to_result(prepared, result)


def _lift(limit: asyncio.Timeout) -> None:
    """Lift the time limit, which may be over: a COMMIT sent with the last writes is waited for."""
    if not limit.expired():
        limit.reschedule(None)


def _put_in_doubt(body: dict[str, Any]) -> dict[str, Any]:
    """Say in an error that what was to be stored may be stored; the same idempotency key settles it."""
    body["extensions"]["inDoubt"] = True
    return body


async def _touch_token(context: Context) -> None:
    """Note now and then that the viewer's session is in use; how the operation went does not matter."""
    viewer = context.actor
    if context.is_cut:
        return
    if viewer.is_touch_due and viewer.token_id is not None:
        with suppress(DBAPIError):
            await context.in_own_transaction(actor.touch, token_id=viewer.token_id)


async def authenticate(context: Context, token: str) -> None:
    """Load the viewer into the context.

    Raises:
        Unauthenticated: the token is invalid.
        Forbidden: a query's token lacks the scope READ.
    """
    loaded = await context.run(_load_actor, token=token)
    nobody = context.actor
    context.actor = replace(loaded, providers=nobody.providers, identity_providers=nobody.identity_providers)
    if not context.is_mutation:
        # A mutation has a scope of its own; what its payload may show is checked by `token_reads`.
        permissions.require_scope(context.actor, Scope.READ)
    viewer_cache.keep(context.actor)
    context.actor = viewer_cache.copy_roles(context.actor)


async def _run_as_viewer(
    prepared: PreparedOperation, context: Context, *, last: bool
) -> ExecutionResult | OperationResult:
    """Find who the viewer is and run the operation; what a viewer from the cache met counts once checked.

    Raises:
        Problem: the token does not work, or lacks a scope.
        StaleViewer: the viewer in the cache has changed.
        RetryOperation, FallBack: as `run_attempt`.
    """
    sql_trace.authorize(actor.ANONYMOUS)  # until it is known who asks
    try:
        if prepared.request.token is not None:
            if not context.is_viewer_cached:
                await authenticate(context, prepared.request.token)
                sql_trace.authorize(context.actor)
            elif not context.is_mutation:
                permissions.require_scope(context.actor, Scope.READ)
            if context.is_mutation:
                token_reads.require_readable(prepared.document, prepared.operation, context.actor)
        viewer = context.actor
        result = await _run(prepared, context, last=last)
    except Problem:
        await context.check_viewer()
        raise
    await context.check_viewer()
    sql_trace.authorize(viewer)
    return result


async def _run(
    prepared: PreparedOperation, context: Context, *, last: bool
) -> ExecutionResult | OperationResult:
    """Execute an operation; roll back a mutation that failed and return its final result.

    Raises:
        RetryOperation: another attempt may succeed.
        FallBack: graphql-core must run the query.
    """
    result = await execute_operation(prepared, context)
    errors = result.errors or []
    error = _unexpected_error(errors)
    if context.is_committing:
        if isinstance(error, DBAPIError):
            raise error
        return result  # stored: a field of its payload that fails takes nothing back
    if isinstance(error, viewer_cache.StaleViewer):
        raise error
    if error is not None:
        _raise_if_retryable(context, error, last=last)
        if context.is_mutation:
            await context.roll_back()
            return OperationResult({"data": None, "errors": [format_error(e) for e in errors]})
    if len(context.commit_intents) > 1 or (context.is_mutation and result.data is None):
        # A result without data must leave nothing behind, whatever its first fields wrote.
        await context.roll_back()
        is_request_error = all(e.path is None for e in errors)
        body: dict[str, Any] = {"errors": [format_error(e) for e in errors]}
        if any(e.path for e in errors):
            body = {"data": None} | body
        return OperationResult(
            body, is_request_error=is_request_error, retry_after_seconds=_retry_after_seconds(errors)
        )
    return result


def _to_result(prepared: PreparedOperation, result: ExecutionResult) -> OperationResult:
    errors = result.errors or []
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = [format_error(error) for error in errors]
    is_request_error = result.data is None and all(e.path is None for e in errors) and bool(errors)
    if is_request_error:
        del body["data"]
    return OperationResult(
        body,
        is_request_error=is_request_error,
        is_sql_json=prepared.json_read is not None,
        retry_after_seconds=_retry_after_seconds(errors),
    )


def _retry_after_seconds(errors: list[GraphQLError]) -> int | None:
    """Return how long a client that was turned away is to wait, or None."""
    return max(
        (e.original_error.retry_after_seconds for e in errors if isinstance(e.original_error, Busy)),
        default=None,
    )


def create_context(
    prepared: PreparedOperation,
    *,
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    charge: Charge | None,
    uses_cached_viewer: bool = False,
) -> Context:
    """Return the context in which an operation's resolvers run.

    The viewer may come from the cache only where a query's one statement checks it, or a mutation's first.
    """
    is_mutation = prepared.operation.operation is OperationType.MUTATION
    token = prepared.request.token
    root_field_count = _count_root_fields(prepared.operation) if is_mutation else 1
    viewer = None
    if uses_cached_viewer and token is not None:
        viewer = _find_cached_viewer(prepared, token, is_lone_mutation=is_mutation and root_field_count == 1)
    return Context(
        sessions=sessions,
        settings=settings,
        address=prepared.request.address,
        device=prepared.request.device,
        language=prepared.request.language,
        document=prepared.document,
        is_mutation=is_mutation,
        mutation=_name_root_fields(prepared.operation) if is_mutation else "",
        root_field_count=root_field_count,
        charge=charge,
        actor=viewer or actor.ANONYMOUS,
        is_viewer_cached=viewer is not None,
        is_payload_at_hand=prepared.is_payload_at_hand,
        is_single=prepared.is_single and (token is None or viewer is not None),
        session_cookie=prepared.request.session_cookie or SessionCookie(),
    )


def _find_cached_viewer(
    prepared: PreparedOperation, token: str, *, is_lone_mutation: bool
) -> actor.Actor | None:
    if not is_lone_mutation and prepared.json_read is None:
        return None
    viewer = viewer_cache.find_viewer(token)
    return viewer_cache.copy_roles(viewer) if viewer is not None and is_lone_mutation else viewer


async def _load_actor(session: AsyncSession, _: actor.Actor, *, token: str) -> actor.Actor:
    return await actor.load(session, token=token)


async def _commit(context: Context) -> None:
    """Commit what a mutation wrote, unless it was a dry run."""
    if context.is_mutation and context.commit_intents != {False} and context.is_in_transaction:
        await _run_to_completion(effects.commit(context.session))


async def _run_to_completion(commit: Coroutine[Any, Any, None]) -> None:
    """Finish a commit even if the operation is cancelled meanwhile, so that it never stops halfway."""
    task = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _count_root_fields(operation: OperationDefinitionNode) -> int:
    """Count the root fields; with a fragment among them, return 2, for "several"."""
    selections = operation.selection_set.selections
    return len(selections) if all(isinstance(s, FieldNode) for s in selections) else 2


def _name_root_fields(operation: OperationDefinitionNode) -> str:
    """Return the names of the root fields, as the audit log shows them; those of fragments are left out."""
    names = {s.name.value: None for s in operation.selection_set.selections if isinstance(s, FieldNode)}
    return ",".join(names)[:MAX_NAMES_LENGTH]


def _unexpected_error(errors: list[GraphQLError]) -> BaseException | None:
    """Return the first cause that is no `Problem`: a fault of ours, or of the database."""
    for error in errors:
        cause = error.original_error
        while isinstance(cause, GraphQLError):
            cause = cause.original_error
        if cause is not None and not isinstance(cause, Problem):
            return cause
    return None


def _raise_if_retryable(context: Context, error: BaseException, *, last: bool) -> None:
    """Raise RetryOperation if another attempt may succeed; nothing has been committed."""
    if isinstance(error, DBAPIError) and sqlstate(error) in WAITED:
        context.ask_others_first()
    if (
        not last
        and isinstance(error, DBAPIError)
        and (error.connection_invalidated or sqlstate(error) in RETRYABLE)
    ):
        raise RetryOperation
