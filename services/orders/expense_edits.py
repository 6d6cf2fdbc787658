"""Edits of expenses by their payee; an approved one is pending again."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderItem
from models.enums import CollectiveType, OrderActionType, OrderStatus
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Subject
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.ledger import posting
from services.messaging import outbox
from services.orders import payout_methods
from services.orders.base import mail_payload
from services.orders.expense_decision import ExpenseLine, parse_lines
from services.orders.expense_edit_decision import ExpenseChanges, decide_edit, require_editable
from services.orders.expenses import insert_items
from services.orders.history import add_actions, history_step
from services.orders.method_names import MethodName
from services.orders.sides import OrderSides
from services.orders.transitions import change_status, load_for_decision


async def update_expense(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    amount: UncheckedAmount | None = None,
    items: Sequence[ExpenseLine] | None = None,
    payout_method: MethodName | str | None = None,
    description: str | None = None,
    receipts: Sequence[str] | None = None,
) -> Order:
    """Change what the payee asks for, in the same currency; what is not passed stays.

    An approved expense is pending again, and its hold is released. Locks: the order, then its hold.

    Raises:
        InvalidState: the order is no expense, is settled or closed, or a side is archived.
        Invalid: nothing to change; an amount, an item, a receipt.
    """
    sides, subject = await load_for_decision(session, actor, order_id=order_id)
    order = sides.order
    require_editable(actor, sides, subject)
    lines = None
    if amount is not None or items is not None:
        lines = parse_lines(order.currency, amount, items, description)
    payee, payout = _recipient(sides, subject), None
    if payout_method is not None:
        payout = await payout_methods.resolve_payout_method(
            session, named_as=payout_method, payee=require_collective(payee)
        )
    changes = ExpenseChanges(lines=lines, payout=payout, description=description, receipts=receipts)
    terms = decide_edit(order, payee, changes)
    await _store(session, actor, order, terms, lines=lines, has_items=items is not None)
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="expense_submitted",
        payload=mail_payload(order, to=sides.payee),
        order_id=order.id,
        except_id=actor.id,
    )
    return order


def _recipient(sides: OrderSides, subject: Subject) -> Party:
    """Return the payee with the host that holds its money, also if it is paid outside."""
    payee = require_collective(sides.payee)
    host = subject.payee_host if payee.host_approved_at is not None else None
    currency = sides.order.currency if payee.type == CollectiveType.USER else None
    return Party(payee, host, currency)


async def _store(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    terms: dict[str, Any],
    *,
    lines: list[tuple[str, int]] | None,
    has_items: bool,
) -> None:
    """Make the order pending, then replace its items and terms, with a step of history."""
    from_status = OrderStatus(order.status)
    await change_status(
        session, order, from_status=from_status, to_status=OrderStatus.PENDING, approved_amount=None
    )
    if from_status is OrderStatus.APPROVED:
        await posting.release_hold(session, order_id=order.id)
    if lines is not None:
        await session.execute(delete(OrderItem).where(col(OrderItem.order_id) == order.id))
    await session.execute(
        update(Order)
        .where(col(Order.id) == order.id)
        .values(**terms)
        .execution_options(synchronize_session=False)
    )
    for name, value in terms.items():
        setattr(order, name, value)
    if lines is not None and has_items:
        await insert_items(session, order, lines)
    await add_actions(session, [history_step(order, OrderActionType.EDIT, actor, from_status=from_status)])
