"""Expenses: bills that a collective is asked to pay."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderItem, now
from models.enums import FeesPayer
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.core.money import UncheckedAmount
from services.core.pagination import Sort
from services.database import fetch
from services.database.insert_rows import insert_rows
from services.messaging import outbox
from services.orders import payout_methods
from services.orders.base import mail_payload
from services.orders.expense_decision import (
    Bill,
    ExpenseFacts,
    ExpenseLine,
    decide_expense,
    require_may_submit,
)
from services.orders.history import creation_step, insert_order
from services.orders.method_names import MethodName
from services.round_trips.records import new_record


async def submit(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: CollectiveKey,
    to: CollectiveKey,
    amount: UncheckedAmount | None = None,
    items: Sequence[ExpenseLine] | None = None,
    payout_method: MethodName | str | None = None,
    fees_payer: FeesPayer = FeesPayer.PAYER,
    description: str | None = None,
    private_message: str | None = None,
    receipts: Sequence[str] = (),
) -> Order:
    """Ask `from_` to pay `to` one amount or the sum of several lines, in one of three currencies.

    These are the payee's, the payer's and that of the payer's host.

    Raises:
        Invalid: not exactly one of amount and items; an amount, a currency, a receipt.
        InvalidState: the payer has no host, or the payee has no balance to be paid into.
    """
    parties = await resolve(session, actor, {"from": from_, "to": to}, are_records=True)
    payer, payee = parties["from"], parties["to"]
    require_may_submit(actor, payer, payee)
    kind, method_id = await payout_methods.resolve_payout_method(
        session, named_as=payout_method, payee=require_collective(payee)
    )
    bill = Bill(
        amount=amount,
        items=items,
        fees_payer=fees_payer,
        description=description,
        private_message=private_message,
        receipts=receipts,
    )
    facts = ExpenseFacts(payer=payer, payee=payee, payout_kind=kind, payout_method_id=method_id)
    plan = decide_expense(actor, facts, bill, order_id=order_id, at=now())
    order = plan.order
    await insert_order(session, order, [creation_step(order)])
    if items:
        await insert_items(session, order, plan.lines)
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="expense_submitted",
        payload=mail_payload(order, to=payee),
        order_id=order.id,
        except_id=actor.id,
    )
    return order


async def insert_items(session: AsyncSession, order: Order, lines: list[tuple[str, int]]) -> None:
    """Insert the lines of an expense in one statement; the database requires that they add up."""
    rows = [
        new_record(OrderItem, order_id=order.id, position=i, description=text, amount=amount_minor)
        for i, (text, amount_minor) in enumerate(lines)
    ]
    await insert_rows(session, rows)


ITEMS_IN_ORDER = Sort("ITEMS_IN_ORDER", col(OrderItem.position), col(OrderItem.position), descending=False)


def select_items(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[OrderItem]]:
    """Select the items of a visible order, in their order on the bill."""
    del actor, where  # everybody sees them, and they have no conditions
    return (select(OrderItem).where(col(OrderItem.order_id) == owner),)


async def load_items(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, list[OrderItem]]:
    """Load the items of visible orders, in their order on the bill."""
    return await fetch.fetch_lists(
        session, ANONYMOUS, select_of=select_items, sort=ITEMS_IN_ORDER, by="order_id", owner_ids=order_ids
    )
