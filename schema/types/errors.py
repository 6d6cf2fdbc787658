"""Errors as clients see them: problems in clear, unexpected errors masked and logged under an id."""

import logging
import secrets
import time
from typing import Any

import strawberry
from graphql import GraphQLError
from sqlalchemy.exc import DBAPIError

from schema.types.enums import ErrorCode
from services.core import tracing
from services.core.errors import ConfirmationRequired, Problem, TimedOut, Unavailable
from services.database.constraint_errors import is_outage, sqlstate

STATEMENT_TIMEOUT = "57014"
log = logging.getLogger("commonweal.errors")


@strawberry.interface(description="A reason why a mutation did nothing.")
class UserError:
    message: str = strawberry.field(description="Explanation of the error for people.")
    code: ErrorCode = strawberry.field(description="Error code for programs.")
    path: list[str] | None = strawberry.field(description="Path of the input field that caused the error.")


@strawberry.type(description="A reason why a mutation did nothing.")
class MutationError(UserError):
    pass


def to_user_error(problem: Problem) -> MutationError:
    """Convert a problem to an item of a payload's `errors`; its field is one of `input`."""
    tracing.note_code(problem.code)
    return MutationError(
        message=problem.message,
        code=ErrorCode(problem.code),
        path=None if problem.path is None else ["input", *problem.path],
    )


def to_response_error(problem: Problem) -> dict[str, Any]:
    """Convert a problem to a top-level error."""
    return {"message": problem.message, "extensions": _extensions(problem)}


def _extensions(problem: Problem) -> dict[str, Any]:
    """Return the code of a problem, the path of its field, and what a client can do about it."""
    extensions: dict[str, Any] = {"code": ErrorCode(problem.code)}
    if problem.path:
        extensions["path"] = list(problem.path)
    if isinstance(problem, ConfirmationRequired):
        extensions["ways"] = problem.ways
    return extensions


def format_error(error: GraphQLError) -> dict[str, Any]:
    """Format a top-level error: problems and document errors in clear, unexpected errors masked."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, Problem):
        body = error.formatted
        body["message"] = cause.message
        body["extensions"] = _extensions(cause)
        return dict(body)
    if cause is None or isinstance(cause, GraphQLError):
        body = error.formatted
        extensions = {**(body.get("extensions") or {})}
        extensions.setdefault("code", "BAD_REQUEST")
        body["extensions"] = extensions
        return dict(body)
    return {**mask_error(cause), "path": error.path} if error.path else mask_error(cause)


def mask_error(error: BaseException) -> dict[str, Any]:
    """Log an unexpected error under an id, and return the masked error for the client.

    While the database is away each request fails: that is one line a second, without a trace.
    """
    error_id = secrets.token_hex(8)
    problem = _find_known_cause(error)
    if isinstance(problem, Unavailable):
        _log_outage(error)
    else:
        log.error("fault %s", error_id, exc_info=error, extra={"error_id": error_id})
    if problem is not None:
        known = to_response_error(problem)
        known["extensions"]["errorId"] = error_id
        return known
    return {
        "message": "Something went wrong on our side",
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "errorId": error_id},
    }


class _Outages:
    """When an outage was logged last, and how many errors followed it."""

    next_at = 0.0
    unlogged = 0


def _log_outage(error: BaseException) -> None:
    if time.monotonic() < _Outages.next_at:
        _Outages.unlogged += 1
        return
    state = sqlstate(error) if isinstance(error, DBAPIError) else None
    fields = {"sqlstate": state, "alike": _Outages.unlogged}
    log.error("the database is away: %s", type(error).__name__, extra=fields)
    _Outages.next_at, _Outages.unlogged = time.monotonic() + 1, 0


def _find_known_cause(error: BaseException) -> Problem | None:
    if isinstance(error, DBAPIError) and sqlstate(error) == STATEMENT_TIMEOUT:
        return TimedOut()
    return Unavailable() if is_outage(error) else None
