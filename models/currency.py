from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import CurrencyKind


class Currency(SQLModel, table=True):
    """A currency of ISO 4217, or CUR, the time currency."""

    __table_args__ = (
        one_of("kind", CurrencyKind),
        CheckConstraint("exponent BETWEEN 0 AND 4", name="exponent_range"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    exponent: int
    """Decimal places of the minor unit: JPY 0, USD 2, KWD 3."""
    kind: CurrencyKind = Field(sa_type=Text)


class FxRate(SQLModel, table=True):
    """The price of one unit of `base` in `quote`, in major units, from `valid_from` on. Append-only."""

    __tablename__ = "fx_rate"
    __table_args__ = (
        CheckConstraint("rate > 0", name="rate_positive"),
        CheckConstraint("base <> quote", name="two_currencies"),
        Index("uq_fx_rate_base_quote_valid_from", "base", "quote", "valid_from", unique=True),
    )

    id: UUID = id_field()
    base: str = Field(foreign_key="currency.code", sa_type=Text)
    quote: str = Field(foreign_key="currency.code", sa_type=Text)
    rate: Decimal = Field(sa_type=Numeric)
    valid_from: datetime = timestamp_field()
    source: str = Field(sa_type=Text)
    """The rate's source: ECB, or the slug of a platform admin."""


class PlatformPolicy(SQLModel, table=True):
    """The platform's terms from `valid_from` on. Append-only: an order keeps the row it was made under."""

    __tablename__ = "platform_policy"
    __table_args__ = (
        CheckConstraint("platform_fee_bps BETWEEN 0 AND 10000", name="platform_fee_bps_range"),
        CheckConstraint("redemption_fee_bps BETWEEN 0 AND 10000", name="redemption_fee_bps_range"),
        CheckConstraint("usd_per_current > 0", name="usd_per_current_positive"),
        CheckConstraint("master_weekly_limit_minor > 0", name="master_weekly_limit_positive"),
        CheckConstraint("signup_bonus_minor >= 0", name="signup_bonus_not_negative"),
        CheckConstraint("check_in_minutes >= 0", name="check_in_minutes_not_negative"),
        CheckConstraint("platform_clearing_limit >= 0", name="clearing_limit_not_negative"),
        CheckConstraint("max_event_hours_minor > 0", name="max_event_hours_positive"),
        CheckConstraint("default_issuance_cap_minor > 0", name="default_issuance_cap_positive"),
        CheckConstraint("confirm_above_minor >= 0", name="confirm_above_not_negative"),
    )

    id: UUID = id_field()
    valid_from: datetime = timestamp_field(default_now=True, index=True)
    platform_fee_bps: int = 0
    usd_per_current: Decimal = Field(
        default=Decimal(20), sa_type=Numeric, sa_column_kwargs={"server_default": "20"}
    )
    """The discount that one current buys at a business, in dollars."""
    redemption_fee_bps: int = Field(default=1000, sa_column_kwargs={"server_default": "1000"})
    """The platform's share of the dollars that a redemption pays out."""
    master_weekly_limit_minor: int = Field(
        default=625, sa_type=BigInteger, sa_column_kwargs={"server_default": "625"}
    )
    """The most currents (minor units) that a user may redeem on master offers within seven days."""
    signup_bonus_minor: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """Currents (minor units) issued to a user who claims their account; 0 for none."""
    check_in_minutes: int = Field(default=60, sa_column_kwargs={"server_default": "60"})
    """Minutes before an event's start at which check-in opens."""
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    platform_clearing_limit: int = Field(
        default=1000, sa_type=BigInteger, sa_column_kwargs={"server_default": "1000"}
    )
    """Whole units of a host's currency that the platform may owe the host unless the host sets a limit."""
    max_event_hours_minor: int = Field(
        default=72_000, sa_type=BigInteger, sa_column_kwargs={"server_default": "72000"}
    )
    """The most currents (minor units) that one attendance of an event credits."""
    default_issuance_cap_minor: int = Field(
        default=1_000_000, sa_type=BigInteger, sa_column_kwargs={"server_default": "1000000"}
    )
    """The most currents (minor units) that a nonprofit issues a month until the platform sets it a cap."""
    confirm_above_minor: int = Field(
        default=10_000, sa_type=BigInteger, sa_column_kwargs={"server_default": "10000"}
    )
    """Cents of US dollars above which moving money needs a session that was confirmed lately."""
