"""Offers, the redemptions made of them, and receipts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class Offer(SQLModel, table=True):
    """A business's offer to accept currents for part of an item's price. Deactivated, never deleted."""

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
        Index("ix_offer_search", text("offer_words(item, description)"), postgresql_using="gin"),
        Index("ix_offer_created_at", "created_at", "id"),
        Index("ix_offer_business_id", "business_id", "created_at", "id"),
    )

    id: UUID = id_field()
    business_id: UUID = Field(foreign_key="collective.id")
    item: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    currents_share_percent: int
    """The part of the price that can be paid in currents."""
    monthly_limit: int | None = None
    """Redemptions allowed per calendar month in the business's time zone; null for no limit."""
    is_master: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if it covers any purchase at the business, within the weekly limit of the platform's policy."""
    is_active: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    is_featured: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if a platform admin lists it first."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)


class Receipt(SQLModel, table=True):
    """A file that proves a purchase or expense; its bytes lie in the data folder, named by their SHA-256."""

    __table_args__ = (CheckConstraint("size_bytes > 0", name="size_positive"),)

    id: UUID = id_field()
    owner_id: UUID = Field(foreign_key="collective.id", index=True)
    content_type: str = Field(sa_type=Text)
    size_bytes: int
    sha256: bytes = Field(sa_type=LargeBinary, index=True)
    created_at: datetime = timestamp_field(default_now=True)
    erased_at: datetime | None = timestamp_field(nullable=True)
    """When the file was deleted, because its owner was erased."""


class Redemption(SQLModel, table=True):
    """The dollar side of a REDEMPTION order, in minor units (cents)."""

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
    """The price of the purchase as the user entered it."""
    approved_price_minor: int | None = Field(default=None, sa_type=BigInteger)
    """The price as the business corrected it at approval."""
    currents_share_percent: int
    """The offer's share when the order was created."""
    is_master: bool
    """True if the offer was a master offer when the order was created."""
    usd_gross_minor: int = Field(sa_type=BigInteger)
    """The value of the currents under the order's policy."""
    usd_fee_minor: int = Field(sa_type=BigInteger)
    """The platform's share of `usd_gross_minor`."""
    caps: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    """The caps that reduced the number of currents."""
    place: str | None = Field(default=None, sa_type=Text)
    """Where the purchase took place, for master offers."""
    receipt_text: str | None = Field(default=None, sa_type=Text)
    receipt_id: UUID | None = Field(default=None, foreign_key="receipt.id")
