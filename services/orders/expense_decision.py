"""The decision on a bill: from the facts to the expense, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models import Order
from models.enums import CollectiveType, FeesPayer, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import MAX_MINOR, UncheckedAmount, to_minor
from services.core.party import Party
from services.orders.base import EXPENSE_DECISION_DAYS
from services.orders.sides import has_public_side, receiving_fee_bps, require_open_book, require_valid_sides
from services.round_trips.records import new_record

MAX_ITEMS = 300
MAX_RECEIPTS = 20


@dataclass(frozen=True)
class ExpenseLine:
    """One line of a bill, with its amount still unchecked."""

    description: str
    amount: UncheckedAmount


@dataclass(frozen=True, kw_only=True)
class Bill:
    """A bill as it is submitted, unchecked: one amount, or several lines."""

    amount: UncheckedAmount | None = None
    items: Sequence[ExpenseLine] | None = None
    fees_payer: FeesPayer = FeesPayer.PAYER
    description: str | None = None
    private_message: str | None = None
    receipts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ExpenseFacts:
    """Who is asked to pay whom, and how the payee is paid."""

    payer: Party
    payee: Party
    payout_kind: PayoutMethodKind
    payout_method_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class ExpensePlan:
    """The expense to store, and its lines, in minor units; of an amount alone, one line."""

    order: Order
    lines: list[tuple[str, int]]


def require_may_submit(actor: Actor, payer: Party, payee: Party) -> None:
    """Require that the actor may bill the payer for the payee, before a payout method is looked up.

    Raises:
        AccessDenied: no rule allows the actor.
        Invalid: the sides are the same, or one is an event.
        InvalidState: a side is archived, or the payer has no host.
    """
    require(actor, Action.SUBMIT_EXPENSE, Subject(payer=payer.collective, payee=payee.collective))
    require_valid_sides(payer, payee)
    if payer.host is None:
        raise InvalidState("The payer has no host that could pay. Choose another payer.", field="from")


def decide_expense(
    actor: Actor, facts: ExpenseFacts, bill: Bill, *, order_id: UUID, at: datetime
) -> ExpensePlan:
    """Decide on a bill that the actor may submit, at a time.

    Raises:
        Invalid: not exactly one of amount and items; an amount, a currency, a text, a receipt.
        InvalidState: the payee has no balance to be paid into, or its host is suspended.
    """
    payer, payee, kind = facts.payer, facts.payee, facts.payout_kind
    into_balance = kind is PayoutMethodKind.BALANCE
    if into_balance and payee.host is None:
        raise InvalidState(
            "The payee has no balance here. Choose another payout method.", field="payoutMethod"
        )
    if into_balance:
        require_open_book(payee, field="payoutMethod")
    currency = _choose_currency(facts, bill)
    lines = parse_lines(currency, bill.amount, bill.items, bill.description)
    order = new_record(
        Order,
        id=order_id,
        type=OrderType.EXPENSE,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=require_collective(payer).id,
        to_id=require_collective(payee).id,
        currency=currency,
        amount=sum(amount_minor for _, amount_minor in lines),
        payout_method_kind=kind,
        payout_method_id=facts.payout_method_id,
        fees_payer=bill.fees_payer,
        platform_fee_bps=actor.platform_fee_bps,
        host_fee_bps=receiving_fee_bps(payee) if into_balance else None,
        description=user_text.clean_text(bill.description, field="description"),
        private_message=user_text.clean_text(bill.private_message, field="privateMessage"),
        receipts=clean_receipts(bill.receipts),
        has_public_side=has_public_side(payer, payee),
        expires_at=at + timedelta(days=EXPENSE_DECISION_DAYS),
    )
    return ExpensePlan(order=order, lines=lines)


def _choose_currency(facts: ExpenseFacts, bill: Bill) -> str:
    """Return the currency of a bill: that of its amount, if allowed, or else the payee's.

    An organization or community is paid into its balance in its own currency alone; a user has a balance in
    each currency.
    """
    payer, recipient = facts.payer, require_collective(facts.payee)
    first = bill.amount or (bill.items[0].amount if bill.items else None)
    allowed = {recipient.currency}
    if facts.payout_kind is not PayoutMethodKind.BALANCE or recipient.type == CollectiveType.USER:
        assert payer.host is not None
        allowed |= {payer.currency, payer.host.currency}
    if first is not None and first.currency not in allowed:
        field = "amount.currency" if bill.amount is not None else "items.0.amount.currency"
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


def clean_receipts(receipts: Sequence[str]) -> list[str]:
    """Return the references to receipts, cleaned.

    Raises:
        Invalid: there are too many, or one is empty.
    """
    field = "receipts"
    if len(receipts) > MAX_RECEIPTS:
        raise Invalid(f"Enter at most {MAX_RECEIPTS} receipts.", field=field)
    return [user_text.require_text(receipt, field=field, max_length=500) for receipt in receipts]
