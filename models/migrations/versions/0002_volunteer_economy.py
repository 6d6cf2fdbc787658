"""The volunteer economy: hours, offers, redemptions, events, policies."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

_SQL = Path(__file__).parents[1] / "sql"

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROLES = "'HOST', 'ADMIN', 'ACCOUNTANT', 'MEMBER', 'BACKER', 'VOLUNTEER', 'ATTENDEE', 'WAITING', 'FOLLOWER'"
_CHECKS = (
    ("member", "role_known", f'"role" IN ({_ROLES})'),
    ("invitation", "role_known", f'"role" IN ({_ROLES})'),
    (
        "order",
        "type_known",
        "\"type\" IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'HOURS', 'REDEMPTION', 'TRANSFER', 'CASH_OUT',"
        " 'BONUS')",
    ),
    ("order", "time_is_in_currents", "type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR currency = 'CUR'"),
    (
        "order",
        "hours_have_times",
        "(type = 'HOURS') = (starts_at IS NOT NULL) AND (type = 'HOURS') = (ends_at IS NOT NULL)",
    ),
    ("order", "ends_after_start", "ends_at > starts_at"),
    ("order", "redemption_has_offer", "(type = 'REDEMPTION') = (offer_id IS NOT NULL)"),
    ("order", "pins_policy", "type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR policy_id IS NOT NULL"),
    ("collective", "issuer_is_nonprofit", "issuer_approved_at IS NULL OR type = 'NONPROFIT'"),
    ("collective", "cancelled_is_event", "cancelled_at IS NULL OR type = 'EVENT'"),
    (
        "collective",
        "merged_is_archived_user",
        "merged_into_id IS NULL OR (type = 'USER' AND archived_at IS NOT NULL AND merged_into_id <> id)",
    ),
    ("collective", "credit_policy_known", "\"credit_policy\" IN ('FULL_EVENT', 'ACTUAL')"),
    ("email_token", "purpose_known", "\"purpose\" IN ('VERIFY', 'RESET')"),
    ("platform_policy", "redemption_fee_bps_range", "redemption_fee_bps BETWEEN 0 AND 10000"),
    ("platform_policy", "usd_per_current_positive", "usd_per_current > 0"),
    ("platform_policy", "master_weekly_limit_positive", "master_weekly_limit_minor > 0"),
    ("platform_policy", "signup_bonus_not_negative", "signup_bonus_minor >= 0"),
    ("platform_policy", "check_in_minutes_not_negative", "check_in_minutes >= 0"),
)


def upgrade() -> None:
    """Add the economy's tables and what guards them."""
    op.create_table(
        "issuance_cap",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("nonprofit_id", sa.Uuid(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "\"period\" IN ('WEEK', 'MONTH', 'YEAR')", name=op.f("ck_issuance_cap_period_known")
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_issuance_cap_amount_not_negative")),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["collective.id"], name=op.f("fk_issuance_cap_created_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["nonprofit_id"], ["collective.id"], name=op.f("fk_issuance_cap_nonprofit_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuance_cap")),
    )
    op.create_index(
        "ix_issuance_cap_nonprofit_id", "issuance_cap", ["nonprofit_id", "valid_from", "id"], unique=False
    )
    op.create_table(
        "merged_email",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["collective.id"], name=op.f("fk_merged_email_user_id")),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_merged_email")),
    )
    op.create_index(op.f("ix_merged_email_user_id"), "merged_email", ["user_id"], unique=False)
    op.create_table(
        "muted_topic",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "\"topic\" IN ('MONEY', 'HOURS', 'EVENTS', 'REDEMPTIONS', 'MEMBERS')",
            name=op.f("ck_muted_topic_topic_known"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["collective.id"], name=op.f("fk_muted_topic_user_id")),
        sa.PrimaryKeyConstraint("user_id", "topic", name=op.f("pk_muted_topic")),
    )
    op.create_table(
        "offer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("business_id", sa.Uuid(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("currents_share_percent", sa.Integer(), nullable=False),
        sa.Column("monthly_limit", sa.Integer(), nullable=True),
        sa.Column("is_master", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("currents_share_percent BETWEEN 5 AND 100", name=op.f("ck_offer_share_range")),
        sa.CheckConstraint("monthly_limit >= 1", name=op.f("ck_offer_monthly_limit_positive")),
        sa.ForeignKeyConstraint(["business_id"], ["collective.id"], name=op.f("fk_offer_business_id")),
        sa.ForeignKeyConstraint(["created_by_id"], ["collective.id"], name=op.f("fk_offer_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer")),
    )
    op.create_index("ix_offer_business_id", "offer", ["business_id", "created_at", "id"], unique=False)
    op.create_index("ix_offer_created_at", "offer", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_offer_active_item",
        "offer",
        ["business_id", sa.literal_column("lower(item)")],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "receipt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_receipt_size_positive")),
        sa.ForeignKeyConstraint(["owner_id"], ["collective.id"], name=op.f("fk_receipt_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
    )
    op.create_index(op.f("ix_receipt_owner_id"), "receipt", ["owner_id"], unique=False)
    op.create_table(
        "attendance",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column(
            "checked_in_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("checked_in_by_id", sa.Uuid(), nullable=False),
        sa.Column("checked_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("checked_out_at >= checked_in_at", name=op.f("ck_attendance_out_after_in")),
        sa.ForeignKeyConstraint(
            ["checked_in_by_id"], ["collective.id"], name=op.f("fk_attendance_checked_in_by_id")
        ),
        sa.ForeignKeyConstraint(["event_id"], ["collective.id"], name=op.f("fk_attendance_event_id")),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name=op.f("fk_attendance_order_id")),
        sa.ForeignKeyConstraint(["user_id"], ["collective.id"], name=op.f("fk_attendance_user_id")),
        sa.PrimaryKeyConstraint("event_id", "user_id", name=op.f("pk_attendance")),
        sa.UniqueConstraint("order_id", name=op.f("uq_attendance_order_id")),
    )
    op.create_table(
        "redemption",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("approved_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("currents_share_percent", sa.Integer(), nullable=False),
        sa.Column("is_master", sa.Boolean(), nullable=False),
        sa.Column("usd_gross_minor", sa.BigInteger(), nullable=False),
        sa.Column("usd_fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("caps", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("receipt_text", sa.Text(), nullable=True),
        sa.Column("receipt_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("approved_price_minor > 0", name=op.f("ck_redemption_approved_price_positive")),
        sa.CheckConstraint(
            "currents_share_percent BETWEEN 5 AND 100", name=op.f("ck_redemption_share_range")
        ),
        sa.CheckConstraint("price_minor > 0", name=op.f("ck_redemption_price_positive")),
        sa.CheckConstraint(
            "receipt_text IS NOT NULL OR receipt_id IS NOT NULL", name=op.f("ck_redemption_has_receipt")
        ),
        sa.CheckConstraint(
            "usd_fee_minor BETWEEN 0 AND usd_gross_minor", name=op.f("ck_redemption_usd_fee_range")
        ),
        sa.CheckConstraint(
            "usd_gross_minor <= round(coalesce(approved_price_minor, price_minor)::numeric"
            " * currents_share_percent / 100.0)",
            name=op.f("ck_redemption_usd_gross_within_share"),
        ),
        sa.CheckConstraint("usd_gross_minor > 0", name=op.f("ck_redemption_usd_gross_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name=op.f("fk_redemption_order_id")),
        sa.ForeignKeyConstraint(["receipt_id"], ["receipt.id"], name=op.f("fk_redemption_receipt_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_redemption")),
    )
    op.add_column("collective", sa.Column("coordinator_id", sa.Uuid(), nullable=True))
    op.add_column("collective", sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("collective", sa.Column("issuer_approved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("collective", sa.Column("merged_into_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_collective_merged_into_id"), "collective", "collective", ["merged_into_id"], ["id"]
    )
    op.create_foreign_key(
        op.f("fk_collective_coordinator_id"), "collective", "collective", ["coordinator_id"], ["id"]
    )
    op.add_column("order", sa.Column("offer_id", sa.Uuid(), nullable=True))
    op.add_column("order", sa.Column("policy_id", sa.Uuid(), nullable=True))
    op.add_column("order", sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order", sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order", sa.Column("addressed_to_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_order_event_id",
        "order",
        ["event_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )
    op.create_index(
        "ix_order_offer_id",
        "order",
        ["offer_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("offer_id IS NOT NULL"),
    )
    op.create_index(
        "ix_order_open_from_id",
        "order",
        ["from_id", "type", "starts_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'APPROVED')"),
    )
    op.create_index(
        "ix_order_open_to_id",
        "order",
        ["to_id", "type"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'APPROVED')"),
    )
    op.create_index(
        "uq_order_bonus", "order", ["to_id"], unique=True, postgresql_where=sa.text("type = 'BONUS'")
    )
    op.create_foreign_key(op.f("fk_order_policy_id"), "order", "platform_policy", ["policy_id"], ["id"])
    op.create_foreign_key(
        op.f("fk_order_addressed_to_id"), "order", "collective", ["addressed_to_id"], ["id"]
    )
    op.create_foreign_key(op.f("fk_order_offer_id"), "order", "offer", ["offer_id"], ["id"])
    op.add_column(
        "platform_policy", sa.Column("usd_per_current", sa.Numeric(), server_default="20", nullable=False)
    )
    op.add_column(
        "platform_policy",
        sa.Column("redemption_fee_bps", sa.Integer(), server_default="1000", nullable=False),
    )
    op.add_column(
        "platform_policy",
        sa.Column("master_weekly_limit_minor", sa.BigInteger(), server_default="625", nullable=False),
    )
    op.add_column(
        "platform_policy",
        sa.Column("signup_bonus_minor", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.add_column(
        "platform_policy", sa.Column("check_in_minutes", sa.Integer(), server_default="60", nullable=False)
    )

    for table, name, condition in _CHECKS:
        op.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS ck_{table}_{name}')
        op.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT ck_{table}_{name} CHECK ({condition})')
    # The driver's own connection: SQLAlchemy would read the percent signs as placeholders.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None  # noqa: S101 - a live connection has one
    driver.execute((_SQL / "economy_v1.sql").read_text())
