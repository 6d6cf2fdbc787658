"""Payments through a provider: a host's account there, payments, refunds, and what the provider tells."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import (
    DisputeStatus,
    ProviderAccountStatus,
    ProviderName,
    ProviderPaymentStatus,
    ProviderRefundStatus,
)


class ProviderAccount(SQLModel, table=True):
    """A host's account at a payment provider. Disabled, never deleted."""

    __tablename__ = "provider_account"
    __table_args__ = (
        one_of("provider", ProviderName),
        one_of("status", ProviderAccountStatus),
        CheckConstraint("status <> 'ACTIVE' OR external_id IS NOT NULL", name="active_is_known"),
        CheckConstraint("provider <> 'FAKE' OR NOT livemode", name="fake_is_no_money"),
        CheckConstraint("(connect_state_hash IS NULL) = (connect_by_id IS NULL)", name="connect_is_whole"),
        UniqueConstraint("provider", "external_id", "livemode"),
        UniqueConstraint("id", "host_id", "provider"),
        Index(
            "uq_provider_account_host_id",
            "host_id",
            "provider",
            unique=True,
            postgresql_where=text("status <> 'DISABLED'"),
        ),
    )

    id: UUID = id_field()
    host_id: UUID = Field(foreign_key="collective.id")
    provider: ProviderName = Field(sa_type=Text)
    external_id: str | None = Field(default=None, sa_type=Text)
    status: ProviderAccountStatus = Field(sa_type=Text)
    livemode: bool
    """True if it collects money: the provider's test accounts do not."""
    away_since: datetime | None = timestamp_field(nullable=True)
    """Since when the provider has not answered."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)
    connect_state_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The hash of what the provider sends back with the host's consent."""
    connect_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """Who was sent to the provider, and has not come back."""


class Instrument(SQLModel, table=True):
    """A giver's card or the like, kept by the provider; here is only what people know it by."""

    __table_args__ = (
        CheckConstraint("last4 ~ '^[0-9]{4}$'", name="last4_is_four_digits"),
        CheckConstraint("length(brand) BETWEEN 1 AND 50", name="brand_short"),
        Index("uq_instrument_external_id", "provider_account_id", "external_id", "owner_id", unique=True),
        Index("ix_instrument_owner_id", "owner_id", "created_at"),
    )

    id: UUID = id_field()
    owner_id: UUID = Field(foreign_key="collective.id")
    provider_account_id: UUID = Field(foreign_key="provider_account.id")
    external_id: str = Field(sa_type=Text)
    customer_id: str | None = Field(default=None, sa_type=Text)
    """The provider's id of the owner."""
    brand: str = Field(sa_type=Text)
    last4: str = Field(sa_type=Text)
    expires_on: date | None = None
    created_at: datetime = timestamp_field(default_now=True)
    archived_at: datetime | None = timestamp_field(nullable=True)


class ProviderPayment(SQLModel, table=True):
    """The payment of an order at its provider, and the dispute over it."""

    __tablename__ = "provider_payment"
    __table_args__ = (
        one_of("status", ProviderPaymentStatus),
        one_of("dispute_status", DisputeStatus),
        CheckConstraint(
            "num_nulls(dispute_id, dispute_status, dispute_amount_minor, dispute_fee_minor, is_dispute_held)"
            " IN (0, 5) AND dispute_amount_minor > 0 AND dispute_fee_minor >= 0"
            " AND (NOT is_dispute_posted OR dispute_status = 'LOST')",
            name="dispute_is_whole",
        ),
        CheckConstraint("external_id IS NOT NULL OR status IN ('OPEN', 'CANCELLED')", name="paid_is_known"),
        UniqueConstraint("provider_account_id", "external_id", name="uq_provider_payment_external_id"),
        Index(
            "ix_provider_payment_open",
            "created_at",
            postgresql_where=text("status IN ('OPEN', 'PROCESSING')"),
        ),
        Index("ix_provider_payment_dispute", "order_id", postgresql_where=text("dispute_status IS NOT NULL")),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    provider_account_id: UUID = Field(foreign_key="provider_account.id")
    external_id: str | None = Field(default=None, sa_type=Text)
    """Null until the provider has answered, if a kept card is charged."""
    client_secret: str | None = Field(default=None, sa_type=Text)
    """With it a giver pays, and nothing else; null once the payment has ended."""
    redirect_url: str | None = Field(default=None, sa_type=Text)
    instrument_id: UUID | None = Field(default=None, foreign_key="instrument.id")
    status: ProviderPaymentStatus = Field(sa_type=Text)
    failure: str | None = Field(default=None, sa_type=Text)
    dispute_id: str | None = Field(default=None, sa_type=Text)
    dispute_status: DisputeStatus | None = Field(default=None, sa_type=Text)
    dispute_fee_minor: int | None = Field(default=None, sa_type=BigInteger)
    """In minor units of the host's currency."""
    is_dispute_held: bool | None = None
    """False if neither the payee nor its host had enough to set aside."""
    is_dispute_posted: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)
    dispute_amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    """What the bank wants back, in minor units of the order's currency."""
    asked_at: datetime | None = timestamp_field(nullable=True)
    """When the provider was last asked to charge a kept card."""


class ProviderRefund(SQLModel, table=True):
    """A refund through a provider, which the ledger posts when the provider confirms it."""

    __tablename__ = "provider_refund"
    __table_args__ = (
        one_of("status", ProviderRefundStatus),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("uq_provider_refund_external_id", "order_id", "external_id", unique=True),
        Index(
            "uq_provider_refund_open",
            "order_id",
            unique=True,
            postgresql_where=text("status IN ('REQUESTED', 'SENT')"),
        ),
    )

    id: UUID = id_field()
    order_id: UUID = Field(foreign_key="provider_payment.order_id")
    external_id: str | None = Field(default=None, sa_type=Text)
    amount_minor: int = Field(sa_type=BigInteger)
    """In minor units of the order's currency."""
    status: ProviderRefundStatus = Field(sa_type=Text)
    is_stray: bool
    """True if no transaction is taken back: the order had ended when the money came."""
    reason: str | None = Field(default=None, sa_type=Text)
    failure: str | None = Field(default=None, sa_type=Text)
    requested_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)


class ProviderEvent(SQLModel, table=True):
    """What a provider told, word for word, once."""

    __tablename__ = "provider_event"
    __table_args__ = (
        one_of("provider", ProviderName),
        CheckConstraint("pg_column_size(body) <= 262144", name="body_bounded"),
        UniqueConstraint("provider", "external_id"),
        Index("ix_provider_event_waiting", "received_at", postgresql_where=text("processed_at IS NULL")),
    )

    id: UUID = id_field()
    provider: ProviderName = Field(sa_type=Text)
    external_id: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    body: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    received_at: datetime = timestamp_field(default_now=True)
    processed_at: datetime | None = timestamp_field(nullable=True)
    error: str | None = Field(default=None, sa_type=Text)
