"""What every mutation shares: undoing on a problem, dry runs, and doing a keyed thing once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from resolvers.context import Context, Info
from services.core.errors import AccessDenied, Invalid, Problem, Unauthenticated
from services.database.constraint_errors import problem_of
from services.orders import idempotency

T = TypeVar("T")


async def attempt(
    info: Info, work: Callable[[], Awaitable[T]], *, dry_run: bool = False, nested: bool = False
) -> T | Problem:
    """Do the work, or undo it and return why not. `nested` keeps what was done before it.

    Raises:
        AccessDenied: signed out, or no right; a top-level error.
    """
    context = info.context
    _note_dry_run(context, dry_run=dry_run)
    try:
        async with context.step(alone=context.root_fields == 1 and not nested):
            return await work()
    except AccessDenied:
        raise
    except Problem as problem:
        return problem
    except DBAPIError as error:
        problem_found = problem_of(error)
        if problem_found is None:
            raise
        return problem_found


def _note_dry_run(context: Context, *, dry_run: bool) -> None:
    context.stored.add(not dry_run)
    if len(context.stored) > 1:
        raise Invalid("An operation is a dry run as a whole or not at all", path=["input", "dryRun"])


async def once(
    info: Info,
    *,
    mutation: str,
    key: str | None,
    payload: Mapping[str, Any],
    result_id: UUID,
    work: Callable[[], Awaitable[T]],
    replay: Callable[[UUID], Awaitable[T]],
) -> T:
    """Do the work, or, where the actor used the key for the same payload, return its first result.

    Raises:
        IdempotencyConflict: the key was used for another payload.
        Unauthenticated: nobody is signed in, so that there is nobody to keep keys for.
    """
    if key is None:
        return await work()
    if info.context.actor.user is None:
        raise Unauthenticated
    earlier = await info.context.run(
        idempotency.claim,
        key=key,
        request=idempotency.request_hash(mutation, payload),
        result_id=result_id,
    )
    return await work() if earlier is None else await replay(earlier)
