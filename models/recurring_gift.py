"""Recurring gifts: a payer gives a payee the same amount every month or year."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import GiftInterval, GiftNotice, GiftParty, GiftStatus, PaymentMethodKind


class RecurringGift(SQLModel, table=True):
    """A gift that repeats; each period has one order at most. Ended, never deleted."""

    __tablename__ = "subscription"
    __table_args__ = (
        one_of("interval", GiftInterval),
        one_of("status", GiftStatus),
        CheckConstraint(
            "payment_method_kind IN ('BALANCE', 'MANUAL', 'PROVIDER')", name="payment_method_kind_known"
        ),
        one_of("paused_by", GiftParty),
        one_of("notice", GiftNotice),
        CheckConstraint("from_id <> to_id", name="two_sides"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("currency <> 'CUR'", name="is_of_money"),
        CheckConstraint(
            "tip_minor IS NULL OR tip_minor >= 1 AND tip_minor <= amount_minor", name="tip_at_most_amount"
        ),
        CheckConstraint(
            "(tier_id IS NULL) = (quantity IS NULL) AND quantity BETWEEN 1 AND 1000", name="tier_has_quantity"
        ),
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day_of_month"),
        CheckConstraint("failures >= 0 AND delays >= 0", name="counts_not_negative"),
        CheckConstraint(
            "(status = 'PAUSED') = (paused_by IS NOT NULL)"
            " AND (status = 'PAUSED' OR pause_reason IS NULL AND resumes_on IS NULL)",
            name="paused_by_somebody",
        ),
        CheckConstraint("(status = 'PAST_DUE') = (failed_on IS NOT NULL)", name="past_due_since"),
        CheckConstraint("(status IN ('CANCELLED', 'ENDED')) = (ended_at IS NOT NULL)", name="ended_has_time"),
        CheckConstraint(
            "status IN ('PENDING', 'PAUSED', 'CANCELLED', 'ENDED') OR due_at IS NOT NULL", name="open_is_due"
        ),
        CheckConstraint(
            "status <> 'PENDING' OR payment_method_kind = 'PROVIDER' AND due_at IS NULL"
            " AND instrument_id IS NULL",
            name="pending_waits",
        ),
        CheckConstraint(
            "CASE WHEN payment_method_kind <> 'PROVIDER' THEN instrument_id IS NULL"
            " ELSE payment_method_id IS NOT NULL"
            " AND (instrument_id IS NOT NULL OR status NOT IN ('ACTIVE', 'PAST_DUE', 'PAUSED', 'ENDED')) END",
            name="card_of_provider",
        ),
        CheckConstraint("ends_after >= starts_on", name="ends_after_start"),
        CheckConstraint("notice IS NULL OR status IN ('PAUSED', 'CANCELLED')", name="notice_of_stopped"),
        Index("ix_subscription_due_at", "due_at", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_subscription_from_id", "from_id", "created_at", "id"),
        Index("ix_subscription_to_id", "to_id", "created_at", "id"),
        Index("ix_subscription_tier_id", "tier_id", "from_id", postgresql_where=text("tier_id IS NOT NULL")),
    )

    id: UUID = id_field()
    from_id: UUID = Field(foreign_key="collective.id")
    to_id: UUID = Field(foreign_key="collective.id")
    tier_id: UUID | None = Field(default=None, foreign_key="tier.id")
    quantity: int | None = None
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    """The payee's currency."""
    amount_minor: int = Field(sa_type=BigInteger)
    interval: GiftInterval = Field(sa_type=Text)
    anchor_day: int
    """The day of the month on which to charge; in a shorter month, its last day."""
    timezone: str = Field(sa_type=Text)
    """The time zone of the payee's host when the gift began, in which its days are counted."""
    payment_method_kind: PaymentMethodKind = Field(sa_type=Text)
    payment_method_id: UUID | None = Field(default=None, foreign_key="payment_method.id")
    description: str | None = Field(default=None, sa_type=Text)
    status: GiftStatus = Field(default=GiftStatus.ACTIVE, sa_type=Text)
    starts_on: date
    next_charge_on: date
    """The first period without an order that is open or paid."""
    ends_after: date | None = None
    """The last day on which to charge."""
    due_at: datetime | None = timestamp_field(nullable=True)
    """When the worker next looks at it; null for never."""
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Refused payments of the present period."""
    failed_on: date | None = None
    """The day of the first of them."""
    delays: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Attempts at the present period that failed for a reason that is not the payer's."""
    is_anchor_changed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if the payer has moved the day since the last period."""
    paused_by: GiftParty | None = Field(default=None, sa_type=Text)
    pause_reason: str | None = Field(default=None, sa_type=Text)
    resumes_on: date | None = None
    ended_at: datetime | None = timestamp_field(nullable=True)
    ended_reason: str | None = Field(default=None, sa_type=Text)
    notice: GiftNotice | None = Field(default=None, sa_type=Text)
    """What the database did to the gift and the worker has yet to tell both sides."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)
    instrument_id: UUID | None = Field(default=None, foreign_key="instrument.id")
    """The card with which each period is paid, for a gift through a payment provider."""
    tip_minor: int | None = Field(default=None, sa_type=BigInteger)
    """The tip to the platform that each charge has beside the amount."""
    is_incognito: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if further charges show their giver as little as an incognito order does."""
