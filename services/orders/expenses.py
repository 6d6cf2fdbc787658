"""Expenses: bills that a collective is asked to pay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderItem, now
from models.enums import CollectiveType, FeesPayer, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import MAX_MINOR, UncheckedAmount, to_minor
from services.core.pagination import Sort
from services.core.party import Party
from services.database import fetch
from services.database.insert_rows import insert_rows
from services.messaging import outbox
from services.orders import payout_methods
from services.orders.base import EXPENSE_DECISION_DAYS, mail_payload
from services.orders.history import creation_step, insert_order
from services.orders.method_names import MethodName
from services.orders.sides import has_public_side, receiving_fee_bps, require_open_book, require_valid_sides
from services.round_trips.records import new_record

MAX_ITEMS = 300
MAX_RECEIPTS = 20


@dataclass(frozen=True)
class ExpenseLine:
    """One line of a bill, with its amount still unchecked."""

    description: str
    amount: UncheckedAmount


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
    require(actor, Action.SUBMIT_EXPENSE, Subject(payer=payer.collective, payee=payee.collective))
    require_valid_sides(payer, payee)
    if payer.host is None:
        raise InvalidState("The payer has no host that could pay. Choose another payer.", field="from")
    kind, method_id = await payout_methods.resolve_payout_method(
        session, named_as=payout_method, payee=require_collective(payee)
    )
    if kind is PayoutMethodKind.BALANCE and payee.host is None:
        raise InvalidState(
            "The payee has no balance here. Choose another payout method.", field="payoutMethod"
        )
    if kind is PayoutMethodKind.BALANCE:
        require_open_book(payee, field="payoutMethod")
    recipient = require_collective(payee)
    lines = parse_lines(_choose_currency(payer, payee, kind, amount, items), amount, items, description)
    order = new_record(
        Order,
        id=order_id,
        type=OrderType.EXPENSE,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=require_collective(payer).id,
        to_id=recipient.id,
        currency=_choose_currency(payer, payee, kind, amount, items),
        amount=sum(amount_minor for _, amount_minor in lines),
        payout_method_kind=kind,
        payout_method_id=method_id,
        fees_payer=fees_payer,
        platform_fee_bps=actor.platform_fee_bps,
        host_fee_bps=receiving_fee_bps(payee) if kind is PayoutMethodKind.BALANCE and payee.host else None,
        description=user_text.clean_text(description, field="description"),
        private_message=user_text.clean_text(private_message, field="privateMessage"),
        receipts=clean_receipts(receipts),
        has_public_side=has_public_side(payer, payee),
        expires_at=now() + timedelta(days=EXPENSE_DECISION_DAYS),
    )
    await insert_order(session, order, [creation_step(order)])
    if items:
        await insert_items(session, order, lines)
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="expense_submitted",
        payload=mail_payload(order, to=payee),
        order_id=order.id,
        except_id=actor.id,
    )
    return order


def _choose_currency(
    payer: Party,
    payee: Party,
    kind: PayoutMethodKind,
    amount: UncheckedAmount | None,
    items: Sequence[ExpenseLine] | None,
) -> str:
    """Return the currency of a bill: that of its amount, if allowed, or else the payee's.

    An organization or community is paid into its balance in its own currency alone; a user has a balance in
    each currency.
    """
    first = amount or (items[0].amount if items else None)
    recipient = require_collective(payee)
    allowed = {recipient.currency}
    if kind is not PayoutMethodKind.BALANCE or recipient.type == CollectiveType.USER:
        assert payer.host is not None
        allowed |= {payer.currency, payer.host.currency}
    if first is not None and first.currency not in allowed:
        field = "amount.currency" if amount is not None else "items.0.amount.currency"
        raise Invalid(f"The amount must be in {' or '.join(sorted(allowed))}.", field=field)
    return first.currency if first is not None else recipient.currency


def parse_lines(
    currency: str,
    amount: UncheckedAmount | None,
    items: Sequence[ExpenseLine] | None,
    description: str | None,
) -> list[tuple[str, int]]:
    """Return the description and minor units of each line; of an amount alone, one line.

    Raises:
        Invalid: not exactly one of amount and items; too many items; an amount, or their sum.
    """
    if (amount is None) == (not items):
        raise Invalid("Enter either an amount or items.", field="amount")
    if amount is not None:
        return [(description or "", to_minor(amount, field="amount", currency=currency))]
    assert items is not None
    if len(items) > MAX_ITEMS:
        raise Invalid(f"Enter at most {MAX_ITEMS} items.", field="items")
    lines = [
        (
            user_text.require_text(item.description, field=f"items.{i}.description"),
            to_minor(item.amount, field=f"items.{i}.amount", currency=currency),
        )
        for i, item in enumerate(items)
    ]
    if sum(amount_minor for _, amount_minor in lines) > MAX_MINOR:
        raise Invalid("The sum of the items is too large.", field="items")
    return lines


async def insert_items(session: AsyncSession, order: Order, lines: list[tuple[str, int]]) -> None:
    """Insert the lines of an expense in one statement; the database requires that they add up."""
    rows = [
        new_record(OrderItem, order_id=order.id, position=i, description=text, amount=amount_minor)
        for i, (text, amount_minor) in enumerate(lines)
    ]
    await insert_rows(session, rows)


def clean_receipts(receipts: Sequence[str]) -> list[str]:
    """Return the references to receipts, cleaned.

    Raises:
        Invalid: there are too many, or one is empty.
    """
    field = "receipts"
    if len(receipts) > MAX_RECEIPTS:
        raise Invalid(f"Enter at most {MAX_RECEIPTS} receipts.", field=field)
    return [user_text.require_text(receipt, field=field, max_length=500) for receipt in receipts]


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
