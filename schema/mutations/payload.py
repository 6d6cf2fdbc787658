"""Base types and runners shared by all mutations."""

from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar
from uuid import UUID

import strawberry

from models import Order, new_id
from resolvers import commands
from resolvers.commands import KeyedRequest
from resolvers.context import Info
from resolvers.orders import load_earlier_order
from schema.types.errors import UserError, to_user_error
from services.core.errors import Problem, Unauthenticated

ERRORS = "Reasons why nothing was done. Empty on success."
KEY = (
    "Idempotency key of your choice, at most 200 characters. The same key with the same "
    "input returns the first result, and nothing is done twice."
)
DRY_RUN = "True to return the result without storing anything."


@strawberry.type(description="The result of a mutation.")
class Payload:
    errors: list[UserError] = strawberry.field(description=ERRORS, default_factory=list)


PayloadT = TypeVar("PayloadT", bound=Payload)


@strawberry.input(description="The fields that every input for moving money has.")
class MoneyInput:
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)
    dry_run: bool | None = strawberry.field(default=False, description=DRY_RUN)


async def answer_payload(
    info: Info,
    payload: type[PayloadT],
    work: Callable[[], Awaitable[dict[str, Any]]],
    *,
    dry_run: bool = False,
    for_anybody: bool = False,
) -> PayloadT:
    """Run `work` and return the payload with its fields, or with the problem as an error.

    Raises:
        AccessDenied: nobody is signed in and `for_anybody` is false, or the actor lacks permission.
    """
    if info.context.actor.user is None and not for_anybody:
        raise Unauthenticated
    outcome = await commands.run_command(info, work, dry_run=dry_run)
    if isinstance(outcome, Problem):
        return payload(errors=[to_user_error(outcome)])
    return payload(**outcome)


async def answer_order_payload(
    info: Info,
    payload: type[PayloadT],
    input: MoneyInput,
    mutation: str,
    work: Callable[[UUID], Awaitable[Order]],
    *,
    order_id: Callable[[], UUID] = new_id,
    more: Callable[[Order], Awaitable[dict[str, Any]]] | None = None,
) -> PayloadT:
    """Run a mutation whose result is an order, once per idempotency key.

    `order_id` makes or decodes the order's id, which `work` receives; `more` loads further fields of the
    payload.
    """

    async def run_keyed() -> dict[str, Any]:
        result_id = order_id()
        order = await commands.run_once(
            info,
            keyed_request(mutation, input),
            result_id=result_id,
            work=lambda: work(result_id),
            replay=lambda earlier_id: load_earlier_order(info, earlier_id),
        )
        return {"order": order} | (await more(order) if more else {})

    return await answer_payload(info, payload, run_keyed, dry_run=bool(input.dry_run))


def keyed_request(mutation: str, input: MoneyInput) -> KeyedRequest:
    """Return a call of a mutation with its key and the input that the key stands for."""
    return KeyedRequest(mutation, input.idempotency_key, key_payload(input))


def key_payload(input: MoneyInput) -> dict[str, Any]:
    """Return the input without key and dry-run flag, as compared between calls with the same key."""
    left_out = {"idempotency_key", "dry_run"}
    return {name: value for name, value in _to_plain(input).items() if name not in left_out}


def _to_plain(value: Any) -> Any:
    """Return inputs as dicts; `asdict` would copy all that they hold, too."""
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    if not is_dataclass(value):
        return value
    return {each.name: _to_plain(getattr(value, each.name)) for each in fields(value)}
