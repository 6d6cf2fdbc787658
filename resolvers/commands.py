"""The runners of mutations: undone on a problem, dry runs, and once per idempotency key."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from resolvers.context import Context, Info
from services.core.errors import AccessDenied, Busy, Invalid, Problem, Unauthenticated
from services.database.constraint_errors import problem_for
from services.orders import idempotency

T = TypeVar("T")


async def run_command(info: Info, work: Callable[[], Awaitable[T]], *, dry_run: bool = False) -> T | Problem:
    """Run the work of one mutation; on a problem undo it and return the problem.

    Raises:
        AccessDenied: nobody is signed in, or the actor lacks permission; a top-level error.
        Busy: too many others wait for the same; a top-level error, too.
    """
    context = info.context
    _note_commit_intent(context, dry_run=dry_run)
    try:
        async with context.undone_on_error(whole=context.root_field_count == 1):
            outcome = await work()
            is_answered = context.root_field_count == 1 and await context.read_payload(outcome)
            if is_answered and not dry_run:
                await context.commit()
            else:
                await context.flush()
            return outcome
    except (AccessDenied, Busy):
        raise
    except Problem as problem:
        return problem
    except DBAPIError as error:
        if (violation := problem_for(error)) is None:
            raise
        return violation


def _note_commit_intent(context: Context, *, dry_run: bool) -> None:
    context.commit_intents.add(not dry_run)
    if len(context.commit_intents) > 1:
        raise Invalid("An operation is a dry run as a whole or not at all", field="input.dryRun")


@dataclass(frozen=True)
class KeyedRequest:
    """A call of a mutation, as compared between calls with the same idempotency key."""

    mutation: str
    key: str | None
    payload: Mapping[str, Any]


async def run_once(
    info: Info,
    request: KeyedRequest,
    *,
    result_id: UUID,
    work: Callable[[], Awaitable[T]],
    replay: Callable[[UUID], Awaitable[T]],
) -> T:
    """Do the work, or replay the first result if the actor already used the key for this payload.

    Raises:
        IdempotencyConflict: the key was used for another payload.
        Unauthenticated: nobody is signed in; keys belong to users.
    """
    if request.key is None:
        return await work()
    if info.context.actor.user is None:
        raise Unauthenticated
    context, hashed = info.context, idempotency.hash_request(request.mutation, request.payload)
    try:
        await context.run(idempotency.begin_claim, key=request.key, request=hashed, result_id=result_id)
        return await _work_and_settle(context, work)
    except idempotency.KeyTakenError:
        return await replay(await context.run(idempotency.load_earlier, key=request.key, request=hashed))


async def _work_and_settle(context: Context, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work; what an earlier call with the same key did comes before its result and any refusal."""
    try:
        outcome = await work()
    except Exception:
        await context.settle()
        raise
    else:
        await context.settle()
        return outcome
