"""Edits of expenses by their payee; an approved one is pending again."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderItem
from models.enums import CollectiveType, OrderActionType, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective, require_open
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.ledger import posting
from services.messaging import outbox
from services.orders import payout_methods
from services.orders.base import mail_payload
from services.orders.expense_decision import ExpenseLine, clean_receipts, parse_lines
from services.orders.expenses import insert_items
from services.orders.history import add_actions, history_step
from services.orders.method_names import MethodName
from services.orders.sides import OrderSides, receiving_fee_bps
from services.orders.transitions import change_status, load_for_decision, wrong_status

_EDITABLE = (OrderStatus.PENDING, OrderStatus.APPROVED)


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
    require(actor, Action.UPDATE_EXPENSE, subject)
    if order.type != OrderType.EXPENSE:
        raise InvalidState("Only an expense can be edited.", field="id")
    if order.status not in _EDITABLE:
        raise wrong_status(order, *_EDITABLE)
    for side in (sides.payer, sides.payee):
        require_open(require_collective(side), field="id")
    lines = None
    if amount is not None or items is not None:
        lines = parse_lines(order.currency, amount, items, description)
    terms = await _parse_terms(session, order, _recipient(sides, subject), payout_method)
    if description is not None:
        terms["description"] = user_text.clean_text(description, field="description")
    if receipts is not None:
        terms["receipts"] = clean_receipts(receipts)
    if lines is not None:
        terms["amount"] = sum(amount_minor for _, amount_minor in lines)
    if not terms:
        raise Invalid("Enter what to change.", field="id")
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


async def _parse_terms(
    session: AsyncSession, order: Order, payee: Party, payout_method: MethodName | str | None
) -> dict[str, Any]:
    """Return the columns that another payout method changes.

    Raises:
        InvalidState: the payee has no balance to be paid into, or none in this currency.
    """
    if payout_method is None:
        return {}
    recipient = require_collective(payee)
    kind, method_id = await payout_methods.resolve_payout_method(
        session, named_as=payout_method, payee=recipient
    )
    into_balance = kind is PayoutMethodKind.BALANCE
    if into_balance and (payee.host is None or order.currency != payee.currency):
        raise InvalidState(
            "The payee has no balance in this currency here. Choose another payout method.",
            field="payoutMethod",
        )
    return {
        "payout_method_kind": kind,
        "payout_method_id": method_id,
        "host_fee_bps": receiving_fee_bps(payee) if into_balance else None,
    }


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
