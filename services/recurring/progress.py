"""The progress of a recurring gift through its periods, and what the order of each is."""

from datetime import date, datetime, timedelta
from typing import Any

from models import Order, RecurringGift, now
from models.enums import GiftInterval, GiftStatus, PaymentMethodKind
from services.orders.base import DECISION_DAYS
from services.recurring import periods


def bind(order: Order, row: RecurringGift) -> None:
    """Make an order that of the gift's present period."""
    order.subscription_id, order.period = row.id, row.next_charge_on
    order.tier_id, order.quantity = row.tier_id, row.quantity
    for name, value in payment_columns(row).items():
        setattr(order, name, value)


def payment_columns(row: RecurringGift) -> dict[str, Any]:
    """Return how the order of the present period is paid; a transfer is awaited until the next one."""
    expires_at = None
    if row.payment_method_kind == PaymentMethodKind.MANUAL:
        following = periods.next_day(row.next_charge_on, GiftInterval(row.interval), row.anchor_day)
        latest = row.next_charge_on + timedelta(days=DECISION_DAYS)
        expires_at = periods.begin_of(min(following, latest), row.timezone)
    return {
        "payment_method_kind": PaymentMethodKind(row.payment_method_kind),
        "payment_method_id": row.payment_method_id,
        "expires_at": expires_at,
    }


def advance(row: RecurringGift) -> None:
    """Move a gift to its next period; after its last one, it ends."""
    following = periods.next_day(row.next_charge_on, GiftInterval(row.interval), row.anchor_day)
    move_to(row, following)
    row.is_anchor_changed = False


def move_to(row: RecurringGift, day: date) -> None:
    """Make a day the gift's next one, without refusals so far; if it is after the last, the gift ends."""
    row.next_charge_on, row.updated_at = day, now()
    row.failures, row.delays, row.failed_on = 0, 0, None
    row.paused_by = row.pause_reason = row.resumes_on = row.notice = None
    if row.ends_after is not None and day > row.ends_after:
        row.status, row.ended_at, row.due_at = GiftStatus.ENDED, now(), None
        return
    row.status, row.due_at = GiftStatus.ACTIVE, due_at(row)


def is_late(row: RecurringGift, at: datetime) -> bool:
    """True if the present period, or the first refusal of it, is too long ago to be charged."""
    first = row.failed_on or row.next_charge_on
    return periods.day_of(at, row.timezone) - first > timedelta(days=periods.LATE_DAYS)


def due_at(row: RecurringGift) -> datetime:
    """Return when to act for the gift's next day: a transfer is asked for some days earlier."""
    is_transfer = row.payment_method_kind == PaymentMethodKind.MANUAL
    lead = timedelta(days=periods.TRANSFER_DAYS if is_transfer else 0)
    return periods.begin_of(row.next_charge_on - lead, row.timezone)


def resume(row: RecurringGift, *, today: date) -> None:
    """Resume a paused gift with its first period from today on; what was missed is left out."""
    day = periods.first_day_from(row.next_charge_on, today, GiftInterval(row.interval), row.anchor_day)
    move_to(row, day)
