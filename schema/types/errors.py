"""From problems to what clients read; everything else is masked and logged under an id."""

import logging
import secrets
from typing import Any

import strawberry
from graphql import GraphQLError
from sqlalchemy.exc import DBAPIError

from schema.types.enums import ErrorCode
from services.core.errors import Problem, TimedOut
from services.database.constraint_errors import sqlstate

STATEMENT_TIMEOUT = "57014"
log = logging.getLogger("commonweal.errors")


@strawberry.interface(description="Why a mutation did nothing.")
class UserError:
    message: str = strawberry.field(description="What is wrong, in words for a person.")
    code: ErrorCode = strawberry.field(description="What is wrong, for a program.")
    path: list[str] | None = strawberry.field(description="The input field that it is about.")


@strawberry.type(description="Why a mutation did nothing.")
class MutationError(UserError):
    pass


def user_error(problem: Problem) -> MutationError:
    """Return a problem as an item of a payload's `errors`."""
    return MutationError(
        message=problem.message,
        code=ErrorCode(problem.code),
        path=list(problem.path) if problem.path else None,
    )


def shown(problem: Problem) -> dict[str, Any]:
    """Return a problem as a top-level error."""
    extensions: dict[str, Any] = {"code": ErrorCode(problem.code)}
    if problem.path:
        extensions["path"] = list(problem.path)
    return {"message": problem.message, "extensions": extensions}


def formatted(error: GraphQLError) -> dict[str, Any]:
    """Return a top-level error: a problem or a mistake in the document in clear, a fault masked."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, Problem):
        body = error.formatted
        body["message"] = cause.message
        body["extensions"] = {"code": cause.code, **({"path": cause.path} if cause.path else {})}
        return dict(body)
    if cause is None or isinstance(cause, GraphQLError):
        body = error.formatted
        extensions = {**(body.get("extensions") or {})}
        extensions.setdefault("code", "BAD_REQUEST")
        body["extensions"] = extensions
        return dict(body)
    return {**masked(cause), "path": error.path} if error.path else masked(cause)


def masked(fault: BaseException) -> dict[str, Any]:
    """Log a fault under an id, and return what a client may read of it."""
    error_id = secrets.token_hex(8)
    log.error("fault %s", error_id, exc_info=fault, extra={"error_id": error_id})
    if isinstance(fault, DBAPIError) and sqlstate(fault) == STATEMENT_TIMEOUT:
        told = shown(TimedOut())
        told["extensions"]["errorId"] = error_id
        return told
    return {
        "message": "Something went wrong on our side",
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "errorId": error_id},
    }
