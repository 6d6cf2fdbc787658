"""Approval of many orders in one call: one that fails leaves the others approved."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, new_id
from services.access.actor import Actor
from services.approvals import bulk_hours, decisions
from services.approvals.bulk_decision import IDS_FIELD, require_orders
from services.core import public_ids as id_codec
from services.core.errors import AccessDenied, Forbidden, Invalid, NotFound, Problem
from services.database.constraint_errors import problem_for
from services.orders import idempotency, queries, transitions
from services.round_trips import effects

_MUTATION = "approveOrders"
T = TypeVar("T")


@dataclass(frozen=True)
class ApprovalResult:
    """The result for one of many orders: the approved order, or the problem."""

    public_id: str
    order: Order | None = None
    problem: Problem | None = None


async def approve_orders(
    session: AsyncSession, actor: Actor, *, public_ids: Sequence[str], key: str | None
) -> list[ApprovalResult]:
    """Approve orders one by one, in the order given; hours together, if none of them fails.

    Locks: all orders first, in the order of their ids, then the turns of volunteers who never signed in, in
    the order of theirs, so that two such calls cannot deadlock over these. Over the accounts of orders that
    are approved one by one they can; one of the two is then repeated.

    Raises:
        Invalid: no order, more than 100, or one twice.
        IdempotencyConflict: the key was used for other orders.
        Unauthenticated: nobody is signed in.
    """
    require_orders(actor, public_ids)
    if key is not None:
        request = idempotency.hash_request(_MUTATION, {"ids": public_ids})
        await idempotency.claim_key(session, actor, key=key, request=request, result_id=new_id())
        # Each order gets a key of its own, so that a failed one can succeed when the call is repeated.
        key = hashlib.sha256(key.encode()).hexdigest()
    known = {order_id: public_id for public_id in public_ids if (order_id := _find_id(public_id))}
    await transitions.lock_orders(session, actor, order_ids=list(known))
    hours = await _approve_hours(session, actor, public_id_by_id=known, key=key)
    return [
        ApprovalResult(public_id, order=hours[public_id])
        if public_id in hours
        else await _approve_one(session, actor, public_id=public_id, key=key)
        for public_id in public_ids
    ]


async def _approve_hours(
    session: AsyncSession, actor: Actor, *, public_id_by_id: dict[UUID, str], key: str | None
) -> dict[str, Order]:
    """Approve all approvable hours together, or none of them; the caller then tries each alone."""

    async def approve() -> list[Order]:
        hours = await bulk_hours.load_approvable(session, actor, order_ids=list(public_id_by_id))
        if key is not None and hours:
            keys = {each.order.id: _order_key(key, public_id_by_id[each.order.id]) for each in hours}
            requests = {keys[i]: (_hash_order_request(public_id_by_id[i]), i) for i in keys}
            free = await idempotency.claim_keys(session, actor, requests=requests)
            hours = [each for each in hours if keys[each.order.id] in free]
        return await bulk_hours.approve(session, actor, hours=hours)

    orders = await _undone_on_problem(session, approve)
    return {} if isinstance(orders, Problem) else {public_id_by_id[order.id]: order for order in orders}


async def _approve_one(
    session: AsyncSession, actor: Actor, *, public_id: str, key: str | None
) -> ApprovalResult:
    async def approve() -> Order:
        order_id = id_codec.decode("Order", public_id, field=IDS_FIELD)
        if key is not None:
            earlier_id = await idempotency.claim_key(
                session,
                actor,
                key=_order_key(key, public_id),
                request=_hash_order_request(public_id),
                result_id=order_id,
            )
            if earlier_id is not None:
                return await _load_approved(session, actor, earlier_id)
        return await decisions.approve(session, actor, order_id=order_id)

    try:
        order = await _undone_on_problem(session, approve)
    except Forbidden as problem:
        return ApprovalResult(public_id, problem=problem)
    if isinstance(order, Problem):
        return ApprovalResult(public_id, problem=order)
    return ApprovalResult(public_id, order=order)


async def _undone_on_problem(session: AsyncSession, work: Callable[[], Awaitable[T]]) -> T | Problem:
    """Do the work in a savepoint; on a problem roll back to it and return the problem.

    Raises:
        AccessDenied: the actor lacks permission.
    """
    try:
        async with session.begin_nested():
            result = await work()
            await effects.flush(session)
            return result
    except AccessDenied:
        raise
    except Problem as problem:
        return problem
    except DBAPIError as error:
        if (violation := problem_for(error)) is None:
            raise
        return violation


async def _load_approved(session: AsyncSession, actor: Actor, order_id: UUID) -> Order:
    order = (await queries.load_orders(session, actor, row_ids=[order_id])).get(order_id)
    if order is None:
        raise NotFound("You no longer have access to the order created with this idempotency key.")
    return order


def _order_key(key: str, public_id: str) -> str:
    return f"{key}:{public_id}"


def _hash_order_request(public_id: str) -> bytes:
    return idempotency.hash_request(_MUTATION, {"id": public_id})


def _find_id(public_id: str) -> UUID | None:
    try:
        return id_codec.decode("Order", public_id, field=IDS_FIELD)
    except Invalid:
        return None
