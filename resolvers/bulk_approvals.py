"""Approving many orders, and refunds."""

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from uuid import UUID

import models
from models import new_id
from resolvers import commands
from resolvers.context import Info
from services.approvals import bulk_hours, decisions
from services.core import public_ids as id_codec
from services.core.errors import Forbidden, Invalid, NotFound, Problem, Unauthenticated
from services.core.money import AskedAmount
from services.orders import idempotency, queries, refunds, transitions

MAX_IDS = 100


@dataclass(frozen=True)
class Approved:
    """What became of one of many orders."""

    public_id: str
    order: models.Order | None = None
    problem: Problem | None = None


async def approve_each(
    info: Info, *, public_ids: list[str], key: str | None, dry_run: bool
) -> list[Approved]:
    """Approve orders one after the other, in the order given: one that fails leaves the others.

    All are locked first, in the order of their ids, so that two such calls do not wait in a circle.

    Raises:
        Invalid: none or more than 100, or one twice.
    """
    if info.context.actor.user is None:
        raise Unauthenticated
    path = ["input", "ids"]
    if not 1 <= len(public_ids) <= MAX_IDS:
        raise Invalid(f"Name 1 to {MAX_IDS} orders", path=path)
    if len(set(public_ids)) != len(public_ids):
        raise Invalid("An order is named twice", path=path)
    if key is not None:
        await info.context.run(
            idempotency.claim,
            key=key,
            result_id=new_id(),
            request=idempotency.request_hash("approveOrders", {"ids": public_ids}),
        )
        # Each order has a key of its own, so that one that failed can succeed when the call is repeated.
        key = hashlib.sha256(key.encode()).hexdigest()
    found = {public_id: _order_id(public_id) for public_id in public_ids}
    known = [order_id for order_id in found.values() if order_id is not None]
    await info.context.run(transitions.lock_orders, order_ids=known)
    at_once = await _approve_hours(info, found, key=key, dry_run=dry_run)
    return [
        Approved(public_id, order=at_once[public_id])
        if public_id in at_once
        else await _approve(info, public_id, key=key, dry_run=dry_run)
        for public_id in public_ids
    ]


async def _approve_hours(
    info: Info, found: dict[str, UUID | None], *, key: str | None, dry_run: bool
) -> dict[str, models.Order]:
    """Approve what can be approved together; where that fails, nothing is, and each is tried alone."""
    public = {order_id: public_id for public_id, order_id in found.items() if order_id is not None}

    async def work() -> list[models.Order]:
        each = await info.context.run(bulk_hours.approvable, order_ids=list(public))
        if key is not None and each:
            requests = {
                _key_of(key, public[a.order.id]): (_request_of(public[a.order.id]), a.order.id) for a in each
            }
            free = await info.context.run(idempotency.claim_each, requests=requests)
            each = [a for a in each if _key_of(key, public[a.order.id]) in free]
        return await info.context.run(bulk_hours.approve, found=each)

    done = await commands.attempt(info, work, dry_run=dry_run, nested=True)
    return {} if isinstance(done, Problem) else {public[order.id]: order for order in done}


def _key_of(key: str, public_id: str) -> str:
    return f"{key}:{public_id}"


def _request_of(public_id: str) -> bytes:
    return idempotency.request_hash("approveOrders", {"id": public_id})


def _order_id(public_id: str) -> UUID | None:
    try:
        return id_codec.decode("Order", public_id, path=["input", "ids"])
    except Invalid:
        return None


async def _approve(info: Info, public_id: str, *, key: str | None, dry_run: bool) -> Approved:
    async def work() -> models.Order:
        order_id = id_codec.decode("Order", public_id, path=["input", "ids"])

        def approve() -> Awaitable[models.Order]:
            return info.context.run(decisions.approve, order_id=order_id)

        return await commands.once(
            info,
            mutation="approveOrders",
            key=_key_of(key, public_id) if key else None,
            payload={"id": public_id},
            result_id=order_id,
            work=approve,
            replay=lambda i: _order(info, i),
        )

    try:
        found = await commands.attempt(info, work, dry_run=dry_run, nested=True)
    except Forbidden as problem:
        return Approved(public_id, problem=problem)
    if isinstance(found, Problem):
        return Approved(public_id, problem=found)
    return Approved(public_id, order=found)


async def _order(info: Info, order_id: UUID) -> models.Order:
    order = await info.context.loaders.order(order_id)
    if order is None:
        raise NotFound("The order of this key is not yours to see any more")
    return order


async def refund(
    info: Info, *, order_id: UUID, refund_id: UUID, amount: AskedAmount | None, reason: str | None
) -> tuple[models.Order, list[models.Transaction]]:
    """Refund an order; return it and what was written."""
    done = await info.context.run(
        refunds.refund, order_id=order_id, refund_id=refund_id, amount=amount, reason=reason
    )
    found = await info.context.run(queries.transactions_by_ids, row_ids=done.transaction_ids)
    return done.order, [found[i] for i in done.transaction_ids if i in found]


async def refund_of(info: Info, *, refund_id: UUID) -> tuple[models.Order, list[models.Transaction]]:
    """Return the result of an earlier refund."""
    written = await info.context.run(queries.group_of, transaction_id=refund_id)
    if not written or written[0].order_id is None:
        raise NotFound("The refund of this key is not yours to see any more")
    return await _order(info, written[0].order_id), written
