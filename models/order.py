from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import (
    FeesPayer,
    GiverStatus,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    ProviderName,
)


class PaymentMethod(SQLModel, table=True):
    """A way in which a host receives money, and its fees. Archived, never changed."""

    __tablename__ = "payment_method"
    __table_args__ = (
        one_of("kind", PaymentMethodKind),
        CheckConstraint("fee_bps BETWEEN 0 AND 10000", name="fee_bps_range"),
        CheckConstraint("fee_fixed_minor >= 0", name="fee_fixed_not_negative"),
        CheckConstraint(
            "(kind = 'PROVIDER') = (provider_account_id IS NOT NULL)"
            " AND (provider IS NULL) = (provider_account_id IS NULL)",
            name="provider_has_account",
        ),
        one_of("provider", ProviderName),
        CheckConstraint(
            "(iban IS NULL) = (account_holder IS NULL) AND (iban IS NULL OR kind = 'MANUAL')"
            " AND iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}$' AND length(account_holder) BETWEEN 1 AND 70",
            name="account_of_transfer",
        ),
        ForeignKeyConstraint(
            ["provider_account_id", "host_id", "provider"],
            ["provider_account.id", "provider_account.host_id", "provider_account.provider"],
            name="fk_payment_method_provider_account_id",
        ),
    )

    id: UUID = id_field()
    host_id: UUID = Field(foreign_key="collective.id", index=True)
    kind: PaymentMethodKind = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    fee_bps: int = 0
    fee_fixed_minor: int = Field(default=0, sa_type=BigInteger)
    """In minor units of the host's currency."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    archived_at: datetime | None = timestamp_field(nullable=True)
    provider_account_id: UUID | None = None
    """The host's account at the provider that collects the money."""
    provider: ProviderName | None = Field(default=None, sa_type=Text)
    iban: str | None = Field(default=None, sa_type=Text)
    """The bank account to which givers transfer money. Public."""
    account_holder: str | None = Field(default=None, sa_type=Text)


class PayoutMethod(SQLModel, table=True):
    """A payee's account for payouts. Archived, never changed."""

    __tablename__ = "payout_method"
    __table_args__ = (one_of("kind", PayoutMethodKind),)

    id: UUID = id_field()
    owner_id: UUID = Field(foreign_key="collective.id", index=True)
    kind: PayoutMethodKind = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    details: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """Private: visible to the owner's admins and to admins of a host that pays it."""
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    archived_at: datetime | None = timestamp_field(nullable=True)


class Order(SQLModel, table=True):
    """An intent to move money or time. Amounts in minor units of `currency`, the currency of `to`."""

    __table_args__ = (
        one_of("type", OrderType),
        one_of("status", OrderStatus),
        one_of("payment_method_kind", PaymentMethodKind),
        one_of("payout_method_kind", PayoutMethodKind),
        one_of("fees_payer", FeesPayer),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("approved_amount > 0", name="approved_amount_positive"),
        CheckConstraint("host_fee_bps BETWEEN 0 AND 10000", name="host_fee_bps_range"),
        CheckConstraint("platform_fee_bps BETWEEN 0 AND 10000", name="platform_fee_bps_range"),
        CheckConstraint(
            "from_id <> to_id OR type IN ('CASH_OUT', 'ADDED_FUNDS') OR claimed_giver_id IS NOT NULL",
            name="two_sides",
        ),
        CheckConstraint(
            "type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR currency = 'CUR'", name="time_is_in_currents"
        ),
        CheckConstraint(
            "(type = 'HOURS') = (starts_at IS NOT NULL) AND (type = 'HOURS') = (ends_at IS NOT NULL)",
            name="hours_have_times",
        ),
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        CheckConstraint("(type = 'REDEMPTION') = (offer_id IS NOT NULL)", name="redemption_has_offer"),
        CheckConstraint(
            "type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR policy_id IS NOT NULL", name="pins_policy"
        ),
        one_of("giver_status", GiverStatus),
        CheckConstraint(
            "(claimed_giver_id IS NULL) = (giver_status IS NULL)"
            " AND (claimed_giver_id IS NULL OR type = 'ADDED_FUNDS'"
            " OR type = 'DONATION' AND payment_method_kind IN ('MANUAL', 'PROVIDER'))",
            name="giver_has_status",
        ),
        CheckConstraint("type <> 'EXPENSE' OR approved_amount <= amount", name="expense_at_most_requested"),
        Index(
            "ix_order_claimed_giver_id",
            "claimed_giver_id",
            "created_at",
            postgresql_where=text("claimed_giver_id IS NOT NULL"),
        ),
        Index("ix_order_from_id", "from_id", "created_at", "id"),
        Index("ix_order_to_id", "to_id", "created_at", "id"),
        Index("ix_order_created_at", "created_at", "id"),
        Index("ix_order_type", "type", "created_at", "id"),
        Index("ix_order_status", "status", "created_at", "id"),
        Index(
            "ix_order_addressed_to_id",
            "addressed_to_id",
            "created_at",
            "id",
            postgresql_where=text("addressed_to_id IS NOT NULL"),
        ),
        Index(
            "ix_order_open_from_id",
            "from_id",
            "type",
            "starts_at",
            postgresql_where=text("status IN ('PENDING', 'APPROVED')"),
        ),
        Index(
            "ix_order_open_to_id", "to_id", "type", postgresql_where=text("status IN ('PENDING', 'APPROVED')")
        ),
        Index(
            "ix_order_event_id",
            "event_id",
            "created_at",
            "id",
            postgresql_where=text("event_id IS NOT NULL"),
        ),
        Index("ix_order_offer_id", "offer_id", "created_at", postgresql_where=text("offer_id IS NOT NULL")),
        Index(
            "ix_order_payout_method_id",
            "payout_method_id",
            postgresql_where=text("payout_method_id IS NOT NULL"),
        ),
        Index("uq_order_bonus", "to_id", unique=True, postgresql_where=text("type = 'BONUS'")),
        Index("ix_order_expires_at", "expires_at", postgresql_where=text("status = 'PENDING'")),
        CheckConstraint(
            "(tier_id IS NULL) = (quantity IS NULL) AND quantity BETWEEN 1 AND 1000", name="tier_has_quantity"
        ),
        CheckConstraint("tier_id IS NULL OR type = 'DONATION'", name="tier_of_donation"),
        CheckConstraint(
            "tip IS NULL OR tip >= 1 AND tip <= COALESCE(approved_amount, amount)"
            " AND type = 'DONATION' AND currency <> 'CUR'",
            name="tip_of_gift",
        ),
        CheckConstraint("NOT is_incognito OR type = 'DONATION'", name="incognito_is_gift"),
        CheckConstraint(
            "payment_method_kind <> 'PROVIDER' OR type = 'DONATION' AND payment_method_id IS NOT NULL",
            name="provider_of_donation",
        ),
        Index("ix_order_tier_id", "tier_id", "from_id", postgresql_where=text("tier_id IS NOT NULL")),
        CheckConstraint(
            "(subscription_id IS NULL) = (period IS NULL) AND (subscription_id IS NULL OR type = 'DONATION')",
            name="subscription_has_period",
        ),
        Index(
            "uq_order_subscription_id_period",
            "subscription_id",
            "period",
            unique=True,
            postgresql_where=text("subscription_id IS NOT NULL"),
        ),
        Index(
            "uq_order_import_key",
            "import_key",
            unique=True,
            postgresql_where=text("import_key IS NOT NULL"),
        ),
    )

    id: UUID = id_field()
    type: OrderType = Field(sa_type=Text)
    status: OrderStatus = Field(sa_type=Text)
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    from_id: UUID = Field(foreign_key="collective.id")
    to_id: UUID = Field(foreign_key="collective.id")
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    amount: int = Field(sa_type=BigInteger)
    approved_amount: int | None = Field(default=None, sa_type=BigInteger)
    description: str | None = Field(default=None, sa_type=Text)
    private_message: str | None = Field(default=None, sa_type=Text)
    payment_method_kind: PaymentMethodKind | None = Field(default=None, sa_type=Text)
    payment_method_id: UUID | None = Field(default=None, foreign_key="payment_method.id")
    payout_method_kind: PayoutMethodKind | None = Field(default=None, sa_type=Text)
    payout_method_id: UUID | None = Field(default=None, foreign_key="payout_method.id")
    fees_payer: FeesPayer | None = Field(default=None, sa_type=Text)
    host_fee_bps: int | None = None
    platform_fee_bps: int = 0
    """The platform's fee when the order was created."""
    event_id: UUID | None = Field(default=None, foreign_key="collective.id")
    offer_id: UUID | None = Field(default=None, foreign_key="offer.id")
    policy_id: UUID | None = Field(default=None, foreign_key="platform_policy.id")
    """The platform's policy when the order was created, if the order depends on it."""
    starts_at: datetime | None = timestamp_field(nullable=True)
    ends_at: datetime | None = timestamp_field(nullable=True)
    """The end of the volunteered time; HOURS orders have both."""
    addressed_to_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The admin whom the volunteer asks for approval; null asks every ADMIN."""
    receipts: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    has_public_side: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    """True if at least one side is not a user; such orders become public once approved."""
    origin_unknown: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True for added funds of unknown origin; `from` is then the host that adds them."""
    import_key: str | None = Field(default=None, sa_type=Text)
    """Identifies the imported collective and group of rows; unique."""
    expires_at: datetime | None = timestamp_field(nullable=True)
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)
    claimed_giver_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The giver in whose name a host added funds, or a guest; `from` is the host until the giver confirms."""
    giver_status: GiverStatus | None = Field(default=None, sa_type=Text)
    tier_id: UUID | None = Field(default=None, foreign_key="tier.id")
    quantity: int | None = None
    """The number of tickets or other things that a donation in a tier pays for."""
    subscription_id: UUID | None = Field(default=None, foreign_key="subscription.id")
    """The recurring gift that the order belongs to."""
    period: date | None = None
    """The day on which that gift was due; it has one order a period."""
    tip: int | None = Field(default=None, sa_type=BigInteger)
    """The giver's tip to the platform, beside the amount and in its currency."""
    is_incognito: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if the giver is shown to nobody but the giver, the hosts of both sides, and the platform."""


class OrderItem(SQLModel, table=True):
    """A line of an expense; the lines add up to the order's submitted amount."""

    __tablename__ = "order_item"
    __table_args__ = (CheckConstraint("amount > 0", name="amount_positive"),)

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    position: int = Field(primary_key=True)
    description: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)


class OrderAction(SQLModel, table=True):
    """A step in an order's history. Append-only."""

    __tablename__ = "order_action"
    __table_args__ = (
        one_of("type", OrderActionType),
        one_of("from_status", OrderStatus),
        one_of("to_status", OrderStatus),
        Index("ix_order_action_order_id", "order_id", "at", "id"),
        Index("ix_order_action_reason", "actor_id", postgresql_where=text("reason IS NOT NULL")),
    )

    id: UUID = id_field()
    order_id: UUID = Field(foreign_key="order.id")
    type: OrderActionType = Field(sa_type=Text)
    actor_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The user who acted; null for the server itself."""
    at: datetime = timestamp_field(default_now=True)
    from_status: OrderStatus | None = Field(default=None, sa_type=Text)
    to_status: OrderStatus = Field(sa_type=Text)
    amount: int | None = Field(default=None, sa_type=BigInteger)
    reason: str | None = Field(default=None, sa_type=Text)


class Idempotency(SQLModel, table=True):
    """A used idempotency key: the same key and payload return `result_id` again."""

    actor_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    key: str = Field(primary_key=True, sa_type=Text)
    request_hash: bytes = Field(sa_type=LargeBinary)
    """SHA-256 of the mutation's name and input."""
    result_id: UUID
    created_at: datetime = timestamp_field(default_now=True, index=True)
