"""Refunds through a payment provider: asked for here, sent by a job, posted once the provider confirms."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, ProviderPayment, ProviderRefund, now
from models.enums import DisputeStatus, OrderActionType, OrderStatus, ProviderRefundStatus
from services.access.actor import Actor
from services.core.errors import InvalidState
from services.database.job_queue import add_job
from services.ledger import posting
from services.orders.history import add_actions, history_step
from services.orders.refundable import Refundable
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import split_records

SEND_JOB = "send_provider_refund"
"""The name of the job that sends a refund to its provider."""
OPEN = (ProviderRefundStatus.REQUESTED, ProviderRefundStatus.SENT)


_PAYMENT = compile_statement(
    select(*inspect(ProviderPayment).local_table.c)
    .where(col(ProviderPayment.order_id) == bindparam("order_id", type_=Uuid))
    .with_for_update(key_share=True)
)


def call_to_lock(order_id: UUID) -> Call:
    """Return the call that locks the payment of an order, if it has one; `to_payment` takes its rows."""
    return Call(_PAYMENT, {"order_id": order_id})


def to_payment(rows: Sequence[Sequence[Any]]) -> ProviderPayment:
    """Return the payment that `call_to_lock` has locked."""
    payment: ProviderPayment = split_records((ProviderPayment,), rows[0])[0]
    return payment


async def lock_payment(session: AsyncSession, *, order_id: UUID) -> ProviderPayment:
    """Lock the payment of an order, as everything does that a provider tells of it, before its order."""
    statement = (
        select(ProviderPayment)
        .where(col(ProviderPayment.order_id) == order_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


async def request(
    session: AsyncSession,
    actor: Actor,
    payment: ProviderPayment,
    refundable: Refundable,
    part_minor: int,
    *,
    refund_id: UUID,
    reason: str | None,
) -> None:
    """Ask for a refund of a locked payment, and set aside what the payee has to give back.

    Locks: the payee's account.

    Raises:
        InvalidState: another refund of the order waits for the provider, or the giver's bank
            disputes the payment or took it back.
        InsufficientFunds: from the database, if the payee has spent it.
    """
    if payment.dispute_status == DisputeStatus.OPEN:
        raise InvalidState("The giver's bank disputes this payment. Wait for its decision.", field="id")
    if payment.dispute_status == DisputeStatus.LOST:
        raise InvalidState("The giver's bank took this payment back. There is nothing to refund.", field="id")
    await _require_no_open(session, payment.order_id)
    _, payee = refundable.parties
    assert payee.host is not None and payee.collective is not None
    held_minor = refundable.payee_minor(part_minor)
    if held_minor > 0:
        await posting.place_hold(
            session,
            order_id=payment.order_id,
            book_id=payee.host.id,
            owner_id=payee.collective.id,
            currency=payee.currency,
            amount_minor=held_minor,
        )
    await add(
        session,
        order_id=payment.order_id,
        refund_id=refund_id,
        amount_minor=part_minor,
        reason=reason,
        by_id=actor.id,
    )


async def add(
    session: AsyncSession,
    *,
    order_id: UUID,
    refund_id: UUID,
    amount_minor: int,
    reason: str | None,
    by_id: UUID | None = None,
    is_stray: bool = False,
) -> None:
    """Store a refund, and queue the job that sends it."""
    session.add(
        ProviderRefund(
            id=refund_id,
            order_id=order_id,
            amount_minor=amount_minor,
            status=ProviderRefundStatus.REQUESTED,
            is_stray=is_stray,
            reason=reason,
            requested_by_id=by_id,
        )
    )
    await session.flush()
    await add_job(session, name=SEND_JOB, arguments={"refund_id": str(refund_id)})


async def _require_no_open(session: AsyncSession, order_id: UUID) -> None:
    waiting = select(col(ProviderRefund.id)).where(
        col(ProviderRefund.order_id) == order_id, col(ProviderRefund.status).in_(OPEN)
    )
    if (await session.execute(waiting)).first() is not None:
        raise InvalidState("A refund of this order waits for the payment provider.", field="id")


async def lock_open(session: AsyncSession, *, order_id: UUID) -> ProviderRefund | None:
    """Lock the refund of an order that waits for its provider, if there is one."""
    statement = (
        select(ProviderRefund)
        .where(col(ProviderRefund.order_id) == order_id, col(ProviderRefund.status).in_(OPEN))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def sum_confirmed(session: AsyncSession, *, order_id: UUID) -> int:
    """Return what providers have given back of an order. Units: minor, of its currency."""
    total = select(func.coalesce(func.sum(col(ProviderRefund.amount_minor)), 0)).where(
        col(ProviderRefund.order_id) == order_id,
        col(ProviderRefund.status) == ProviderRefundStatus.CONFIRMED,
    )
    return int((await session.execute(total)).scalar_one())


async def note_confirmed(session: AsyncSession, refund: ProviderRefund, *, external_id: str) -> None:
    """Note that the provider has given back a refund; the ledger follows."""
    await _end(session, refund, ProviderRefundStatus.CONFIRMED, external_id=external_id)


async def fail(session: AsyncSession, actor: Actor, refund: ProviderRefund, *, failure: str) -> None:
    """Give up a refund that the provider refuses, and free what was set aside for it."""
    await _end(session, refund, ProviderRefundStatus.FAILED, failure=failure)
    if refund.is_stray:
        return
    await posting.release_hold(session, order_id=refund.order_id)
    order = await session.get_one(Order, refund.order_id)
    step = history_step(
        order,
        OrderActionType.FAIL,
        actor,
        from_status=OrderStatus(order.status),
        amount_minor=refund.amount_minor,
        reason=failure,
    )
    await add_actions(session, [step])


async def note_sent(session: AsyncSession, refund: ProviderRefund, *, external_id: str | None) -> None:
    """Note that the provider has the refund, and will confirm it."""
    await _end(session, refund, ProviderRefundStatus.SENT, external_id=external_id)


async def _end(
    session: AsyncSession, refund: ProviderRefund, status: ProviderRefundStatus, **columns: str | None
) -> None:
    values = {"status": status, "updated_at": now()} | {k: v for k, v in columns.items() if v is not None}
    await session.execute(
        update(ProviderRefund)
        .where(col(ProviderRefund.id) == refund.id)
        .values(**values)
        .execution_options(synchronize_session="fetch")
    )
