"""Offers, redemptions, receipts, attendance, caps of issuance, muted mails, merged addresses."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from models.base import id_field, moment, one_of
from models.enums import CapPeriod, Topic


class Offer(SQLModel, table=True):
    """A business takes currents for part of the price of an item. Ended, never deleted."""

    __table_args__ = (
        CheckConstraint("currents_share_percent BETWEEN 5 AND 100", name="share_range"),
        CheckConstraint("monthly_limit >= 1", name="monthly_limit_positive"),
        Index(
            "uq_offer_active_item",
            "business_id",
            text("lower(item)"),
            unique=True,
            postgresql_where=text("is_active"),
        ),
        Index("ix_offer_created_at", "created_at", "id"),
        Index("ix_offer_business_id", "business_id", "created_at", "id"),
    )

    id: UUID = id_field()
    business_id: UUID = Field(foreign_key="collective.id")
    item: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    currents_share_percent: int
    """Which part of the price currents pay."""
    monthly_limit: int | None = None
    """How many redemptions a calendar month allows, in the business's time zone; null is no limit."""
    is_master: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Covers any purchase at the business, within the weekly limit of the platform's policy."""
    is_active: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    is_featured: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Chosen by a platform admin to be shown first."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = moment(default_now=True)
    updated_at: datetime = moment(default_now=True)


class Receipt(SQLModel, table=True):
    """A file that proves a purchase or an expense; its bytes lie under the data folder, by their SHA-256."""

    __table_args__ = (CheckConstraint("size_bytes > 0", name="size_positive"),)

    id: UUID = id_field()
    owner_id: UUID = Field(foreign_key="collective.id", index=True)
    content_type: str = Field(sa_type=Text)
    size_bytes: int
    sha256: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = moment(default_now=True)


class Redemption(SQLModel, table=True):
    """What an order of REDEMPTION says beside its currents. Dollars in minor units (cents)."""

    __table_args__ = (
        CheckConstraint("price_minor > 0", name="price_positive"),
        CheckConstraint("approved_price_minor > 0", name="approved_price_positive"),
        CheckConstraint("currents_share_percent BETWEEN 5 AND 100", name="share_range"),
        CheckConstraint("usd_gross_minor > 0", name="usd_gross_positive"),
        CheckConstraint("usd_fee_minor BETWEEN 0 AND usd_gross_minor", name="usd_fee_range"),
        CheckConstraint(
            "usd_gross_minor <= round(coalesce(approved_price_minor, price_minor)::numeric"
            " * currents_share_percent / 100.0)",
            name="usd_gross_within_share",
        ),
        CheckConstraint("receipt_text IS NOT NULL OR receipt_id IS NOT NULL", name="has_receipt"),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    price_minor: int = Field(sa_type=BigInteger)
    """What the purchase cost."""
    approved_price_minor: int | None = Field(default=None, sa_type=BigInteger)
    """What the business says it cost."""
    currents_share_percent: int
    """The offer's share when the order was made."""
    is_master: bool
    """Whether the offer was a master offer then."""
    usd_gross_minor: int = Field(sa_type=BigInteger)
    """What the currents are worth by the pinned policy."""
    usd_fee_minor: int = Field(sa_type=BigInteger)
    """The platform's part of that."""
    caps: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    """The caps that made the currents fewer."""
    place: str | None = Field(default=None, sa_type=Text)
    """Where the purchase was made, for master offers."""
    receipt_text: str | None = Field(default=None, sa_type=Text)
    receipt_id: UUID | None = Field(default=None, foreign_key="receipt.id")


class Attendance(SQLModel, table=True):
    """A user was at an event: once, with the order that credits it."""

    event_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    order_id: UUID = Field(foreign_key="order.id", unique=True)
    checked_in_at: datetime = moment(default_now=True)
    checked_in_by_id: UUID = Field(foreign_key="collective.id")
    checked_out_at: datetime | None = moment(nullable=True)
    __table_args__ = (CheckConstraint("checked_out_at >= checked_in_at", name="out_after_in"),)


class IssuanceCap(SQLModel, table=True):
    """How many currents a nonprofit may issue in a period, from a moment on. Append-only."""

    __tablename__ = "issuance_cap"
    __table_args__ = (
        one_of("period", CapPeriod),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index("ix_issuance_cap_nonprofit_id", "nonprofit_id", "valid_from", "id"),
    )

    id: UUID = id_field()
    nonprofit_id: UUID = Field(foreign_key="collective.id")
    period: CapPeriod = Field(sa_type=Text)
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    """Minor units of CUR; null lifts the cap."""
    valid_from: datetime = moment(default_now=True)
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")


class MutedTopic(SQLModel, table=True):
    """A person wants no mail about a topic."""

    __tablename__ = "muted_topic"
    __table_args__ = (one_of("topic", Topic),)

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    topic: Topic = Field(primary_key=True, sa_type=Text)
    created_at: datetime = moment(default_now=True)


class MergedEmail(SQLModel, table=True):
    """An address whose user became part of another; it leads to that one, and signs nobody in."""

    __tablename__ = "merged_email"

    email: str = Field(primary_key=True, sa_type=Text)
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    created_at: datetime = moment(default_now=True)
