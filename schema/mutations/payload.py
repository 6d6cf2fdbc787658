"""What the mutations of all subjects share."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

import strawberry

from models import Order, new_id
from resolvers import commands
from resolvers.context import Info
from schema.types.errors import UserError, user_error
from services.core.errors import NotFound, Problem, Unauthenticated

ERRORS = "Why nothing was done; empty on success."
KEY = (
    "A key of your choosing, at most 200 characters: the same key and input again return the first "
    "result, and nothing is done twice."
)
DRY_RUN = "Answer as if it were done, and store nothing."


@strawberry.type(description="What every mutation answers.")
class Payload:
    errors: list[UserError] = strawberry.field(description=ERRORS, default_factory=list)


PayloadT = TypeVar("PayloadT", bound=Payload)


@strawberry.input(description="What every mutation that moves money takes.")
class MoneyInput:
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)
    dry_run: bool | None = strawberry.field(default=False, description=DRY_RUN)


async def perform(
    info: Info,
    payload: type[PayloadT],
    work: Callable[[], Awaitable[dict[str, Any]]],
    *,
    dry_run: bool = False,
    for_anybody: bool = False,
) -> PayloadT:
    """Answer with what the work returns, or with why it did nothing.

    Raises:
        AccessDenied: nobody is signed in, and it is not `for_anybody`; or the actor has no right.
    """
    if info.context.actor.user is None and not for_anybody:
        raise Unauthenticated
    done = await commands.attempt(info, work, dry_run=dry_run)
    if isinstance(done, Problem):
        return payload(errors=[user_error(done)])
    return payload(**done)


async def perform_order(
    info: Info,
    payload: type[PayloadT],
    given: MoneyInput,
    mutation: str,
    work: Callable[[UUID], Awaitable[Order]],
    *,
    order_id: Callable[[], UUID] = new_id,
) -> PayloadT:
    """Perform a keyed mutation whose result is an order; `work` gets the id that the order has."""

    async def done() -> dict[str, Any]:
        result_id = order_id()
        order = await commands.once(
            info,
            mutation=mutation,
            key=given.idempotency_key,
            payload=content(given),
            result_id=result_id,
            work=lambda: work(result_id),
            replay=lambda i: found(info, i),
        )
        return {"order": order}

    return await perform(info, payload, done, dry_run=bool(given.dry_run))


async def found(info: Info, order_id: UUID) -> Order:
    """Return the order of an earlier result."""
    order = await info.context.loaders.order(order_id)
    if order is None:
        raise NotFound("The order of this key is not yours to see any more")
    return order


def content(given: MoneyInput) -> dict[str, Any]:
    """Return the input less its key and whether it is a dry run: what a key is compared by."""
    fields = asdict(given)
    return {k: v for k, v in fields.items() if k not in {"idempotency_key", "dry_run"}}
